use super::*;

fn read(text: &str) -> Result<Vec<Node>, String> {
    documents(&"f".into(), text).map_err(|fault| fault.to_string())
}

fn json(node: &Node) -> Value {
    match &node.content {
        Content::Scalar(scalar) => scalar.json(),
        Content::List(items) => items.iter().map(json).collect(),
        Content::Map(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), json(&entry.value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

fn refused(text: &str, expected: &str) {
    match read(text) {
        Ok(nodes) => panic!("{nodes:?}"),
        Err(error) => assert!(error.starts_with(expected), "{error}\nis not {expected}"),
    }
}

#[test]
fn what_json_says_is_what_yaml_reads() {
    let text = "{\n\t\"a\": [1, -2, 1.5, true, null, \"1\", \"\\ud83d\\ude00\\/\\u00e9\"],\n\t\"b\": {\"c: d\": \"# e\"}, \"\": {}\n}\n";
    let nodes = read(text).unwrap();
    assert_eq!(json(&nodes[0]), serde_json::from_str::<Value>(text).unwrap());
}

#[test]
fn a_plain_value_is_what_the_core_schema_says_and_a_quoted_one_is_text() {
    let text = "[yes, True, ~, '', 'true', 012, 0x10, +5, .5, 1e3, .inf, 18446744073709551615, 99999999999999999999999, !!str 5, infinity, nan, 1_000]";
    let expected = serde_json::json!([
        "yes",
        true,
        null,
        "",
        "true",
        12,
        "0x10",
        5,
        0.5,
        1000.0,
        ".inf",
        18_446_744_073_709_551_615_u64,
        1e23,
        "5",
        "infinity",
        "nan",
        "1_000"
    ]);
    assert_eq!(json(&read(text).unwrap()[0]), expected);
}

#[test]
fn documents_are_told_apart_and_empty_ones_left_out() {
    let nodes = read("---\n# nothing\n---\na: 1\n---\n---\n- b\n...\n").unwrap();
    assert_eq!(
        nodes.iter().map(json).collect::<Vec<_>>(),
        [serde_json::json!({"a": 1}), serde_json::json!(["b"])]
    );
    assert_eq!(nodes.iter().map(|node| node.place.line).collect::<Vec<_>>(), [4, 7]);
}

#[test]
fn aliases_and_merges_are_followed() {
    let nodes =
        read("base: &b {x: 1, y: 2}\nother: &o {z: 4}\nmade: {<<: [*b, *o], y: 3}\nsame: *b\n").unwrap();
    let expected = serde_json::json!({
        "base": {"x": 1, "y": 2}, "other": {"z": 4}, "made": {"y": 3, "x": 1, "z": 4}, "same": {"x": 1, "y": 2},
    });
    assert_eq!(json(&nodes[0]), expected);
}

#[test]
fn what_is_no_yaml_is_named_by_its_line() {
    refused("a: 1\nb: [1, 2\nc: 3\n", "f:3: is neither YAML nor JSON");
    refused("a: 1\nb: c: d\n", "f:2: is neither YAML nor JSON");
    refused("{\"a\": 1,\n\"b\": }x", "f:2: is neither YAML nor JSON");
    refused("a: 1\nb: 2\na: 3\n", "f:3: \"a\" is here for the second time");
    refused("? [a]\n: b\n", "f:1: a key must be a text");
    refused("a: &x [*x]\n", "f:1: ");
    refused("a: *x\n", "f:1: ");
}

#[test]
fn bombs_are_refused_before_they_burst() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let before = format!("*a{},", level - 1).repeat(10);
        laughs.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    refused(&laughs, "f:6: the file has more than 1000000 values");
    refused(&"[".repeat(100_000), "f:1: ");
    refused(&"- ".repeat(100_000), "f:1: ");
    let mut deep = "a0: &a0 [[[[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]]]\n".to_owned();
    for level in 1..30 {
        deep.push_str(&format!("a{level}: &a{level} [[[[[[[[[[*a{}]]]]]]]]]]\n", level - 1));
    }
    refused(&deep, "f:9: is nested more than 100 deep");
    refused(&" ".repeat(MAX_BYTES + 1), "f:1: the file is longer than 16 MiB");
}
