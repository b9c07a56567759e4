//! The walk over every member of every spec.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    KINDS, check_taken,
    mend::mend,
    parse,
    sample::{Step, build, path, text},
    shapes::{Shape, Shapes},
};

/// Bounds of the model that are narrowed, by the end of the member's path: what is at the bound is refused.
const NARROWED: [(&str, &str); 4] = [
    // Envoy refuses a cluster with a zero in its outlier detection.
    ("outlierDetection.interval.value", "min"),
    ("outlierDetection.baseEjectionDuration.value", "min"),
    // C33: it starts with a dot, and a dot alone is no host.
    ("match.hostname.suffix", "min"),
    // C27: the documentation lists the words, of which none is so short or so long.
    ("retryPolicy.httpRetryEvents[0]", "min max"),
];

/// What of the model was tried, and what went wrong.
#[derive(Default)]
struct Tried {
    cases: usize,
    /// Shape and member.
    members: BTreeSet<(String, String)>,
    /// Shape and bound.
    bounds: BTreeSet<(String, &'static str)>,
    /// Indexes into [`NARROWED`].
    narrowed: BTreeSet<usize>,
    failures: Vec<String>,
}

/// One place in the spec of one kind.
struct Site<'a> {
    shapes: &'a Shapes,
    key: &'static str,
    root: &'static str,
    steps: Vec<Step>,
    /// Of the value there.
    shape: &'a str,
}

#[test]
fn every_member_of_the_clients_own_model_is_kept_and_every_bound_holds() {
    let shapes = Shapes::installed().unwrap();
    let mut tried = Tried::default();
    for (key, root) in KINDS {
        visit(&Site { shapes, key, root, steps: Vec::new(), shape: root }, &mut tried);
    }
    let failures = tried.failures.len();
    assert!(
        failures == 0,
        "{failures} of {} cases, first: {:#?}",
        tried.cases,
        &tried.failures[..failures.min(20)]
    );
    let (mut members, mut bounds) = (BTreeSet::new(), BTreeSet::new());
    for name in shapes.names() {
        let parts = shapes.get(name).parts();
        members.extend(parts.filter_map(|(member, _)| Some((name.to_owned(), member?.to_owned()))));
        bounds.extend(declared(shapes.get(name)).into_iter().map(|bound| (name.to_owned(), bound)));
    }
    let forgotten: Vec<_> = members.difference(&tried.members).collect();
    assert!(forgotten.is_empty(), "members of the model that no case held: {forgotten:?}");
    let forgotten: Vec<_> = bounds.difference(&tried.bounds).collect();
    assert!(forgotten.is_empty(), "bounds of the model that no case tried: {forgotten:?}");
    assert_eq!(tried.narrowed.len(), NARROWED.len(), "a bound is said to be narrowed and is not");
    assert!(tried.cases > 5000, "only {} cases", tried.cases);
}

/// The bounds that a shape has.
fn declared(shape: &Shape) -> Vec<&'static str> {
    let bounds = match shape {
        Shape::Structure { required, union, .. } => {
            vec![("required", !required.is_empty()), ("union", *union)]
        }
        Shape::List { min, max, .. } => vec![("min", min.is_some()), ("max", max.is_some())],
        Shape::Text { min, max, allowed, pattern } => vec![
            ("min", min.is_some()),
            ("max", max.is_some()),
            ("enum", !allowed.is_empty()),
            ("pattern", pattern.is_some()),
        ],
        Shape::Number { min, max } => vec![("min", min.is_some()), ("max", max.is_some())],
        Shape::Flag => Vec::new(),
    };
    bounds.into_iter().filter(|(_, is_there)| *is_there).map(|(bound, _)| bound).collect()
}

fn visit(site: &Site<'_>, tried: &mut Tried) {
    site.present(tried);
    site.types(tried);
    match site.shapes.get(site.shape) {
        Shape::Structure { .. } => site.structure(tried),
        Shape::List { item, min, max } => site.list(item, *min, *max, tried),
        Shape::Text { min, max, allowed, pattern } => {
            site.words(allowed, tried);
            site.pattern(pattern.as_deref(), tried);
            site.lengths(*min, *max, tried);
        }
        Shape::Number { min, max } => site.numbers(*min, *max, tried),
        Shape::Flag => {
            [true, false].into_iter().for_each(|flag| site.taken("a flag", Some(json!(flag)), tried))
        }
    }
    for (member, shape) in site.shapes.get(site.shape).parts() {
        if let Some(member) = member {
            tried.members.insert((site.shape.to_owned(), member.to_owned()));
        }
        let step = member.map_or(Step::Item, |member| Step::Member(member.to_owned()));
        visit(&Site { steps: [&site.steps[..], &[step]].concat(), shape, ..*site }, tried);
    }
}

impl Site<'_> {
    fn path(&self) -> String {
        path(&self.steps)
    }

    /// The smallest spec that holds this place, with this value there, or none.
    fn with(&self, value: Option<Value>) -> Value {
        let mut spec = build(self.shapes, self.root, &self.steps, &[]);
        mend(self.root, &mut spec);
        let (last, parents) = match self.steps.split_last() {
            Some(split) => split,
            None => return value.unwrap_or_default(),
        };
        let parent = parents.iter().fold(&mut spec, |value, step| match step {
            Step::Member(name) => &mut value[name],
            Step::Item => &mut value[0],
        });
        match (last, value) {
            (Step::Member(name), Some(value)) => parent[name] = value,
            (Step::Member(name), None) => {
                parent.as_object_mut().and_then(|members| members.shift_remove(name));
            }
            (Step::Item, Some(value)) => parent[0] = value,
            (Step::Item, None) => {
                parent.as_array_mut().map(|items| items.remove(0));
            }
        }
        mend(self.root, &mut spec);
        spec
    }

    /// The value that the smallest spec has here.
    fn sample(&self) -> Value {
        build(self.shapes, self.shape, &[], &self.steps)
    }

    fn taken(&self, why: &str, value: Option<Value>, tried: &mut Tried) {
        tried.cases += 1;
        let spec = self.with(value);
        if let Err(error) = check_taken(self.key, self.root, &spec) {
            tried.failures.push(format!("{}, {}, {why}: {error:#}; {spec}", self.root, self.path()));
        }
    }

    /// Refused, and the refusal names a path of which it is true that it is the right one.
    fn refused(
        &self,
        why: &str,
        value: Option<Value>,
        is_right: impl Fn(&str) -> bool,
        rule: &str,
        tried: &mut Tried,
    ) {
        tried.cases += 1;
        let spec = self.with(value);
        let wrong = match parse(self.key, spec.clone()) {
            Ok(_) => "it is taken".to_owned(),
            Err(error) if is_right(&error.path) && error.rule.to_string().contains(rule) => return,
            Err(error) => format!("the refusal is {error}"),
        };
        tried.failures.push(format!("{}, {}, {why}: {wrong}; {spec}", self.root, self.path()));
    }

    /// As [`Site::refused`], at this very place.
    fn refused_here(&self, why: &str, value: Value, rule: &str, tried: &mut Tried) {
        let here = self.path();
        self.refused(why, Some(value), |path| path == here, rule, tried);
    }

    fn present(&self, tried: &mut Tried) {
        if !self.steps.is_empty() {
            let spec = self.with(Some(self.sample()));
            tried.cases += 1;
            if let Err(error) = check_taken(self.key, self.root, &spec) {
                tried.failures.push(format!("{}, {}: {error:#}; {spec}", self.root, self.path()));
            }
        }
    }

    fn types(&self, tried: &mut Tried) {
        let wanted = self.shapes.get(self.shape).type_name();
        let others = [
            (json!(true), "a boolean"),
            (json!(7), "a number"),
            (json!(7.5), "a fraction"),
            (json!("a"), "a string"),
            (json!([]), "a list"),
            (json!({}), "an object"),
        ];
        for (value, found) in others {
            let is_wanted = found == wanted || (found == "a number" && wanted == "a whole number");
            if !is_wanted {
                self.refused_here(found, value, &format!("must be {wanted}, not {found}"), tried);
            }
        }
        if self.steps.last() == Some(&Step::Item) {
            self.refused_here("null", Value::Null, &format!("must be {wanted}, not null"), tried);
        }
    }

    fn structure(&self, tried: &mut Tried) {
        let shape = self.shapes.get(self.shape);
        let exclusive = shape.exclusive(self.shape);
        for (member, part) in shape.parts() {
            let Some(member) = member else { continue };
            let steps = [&self.steps[..], &[Step::Member(member.to_owned())]].concat();
            let here = path(&steps);
            let below = Site { steps, shape: part, ..*self };
            if shape.needs(self.shape, member) {
                tried.bounds.insert((self.shape.to_owned(), "required"));
                for value in [None, Some(Value::Null)] {
                    below.refused("without it", value, |path| path == here, "is required", tried);
                }
            } else if exclusive.as_ref().is_none_or(|(among, _)| !among.contains(&member)) {
                below.taken("null", Some(Value::Null), tried);
                below.taken("without it", None, tried);
            }
        }
        let Some((among, must)) = exclusive else { return };
        let is_union = matches!(shape, Shape::Structure { union: true, .. });
        if is_union {
            tried.bounds.insert((self.shape.to_owned(), "union"));
        }
        let here = self.path();
        if must {
            self.refused("no member", Some(json!({})), |path| path == here, "exactly one of", tried);
        }
        let part = |name: &str| {
            let part = shape.parts().find(|(member, _)| *member == Some(name)).map_or("", |(_, part)| part);
            build(self.shapes, part, &[], &[&self.steps[..], &[Step::Member(name.to_owned())]].concat())
        };
        for (index, first) in among.iter().enumerate() {
            for second in &among[index + 1..] {
                let steps = [&self.steps[..], &[Step::Member((*first).to_owned())]].concat();
                let whole = Site { steps, shape: self.shape, ..*self }.with(Some(part(first)));
                let mut value = self
                    .steps
                    .iter()
                    .fold(&whole, |value, step| match step {
                        Step::Member(name) => &value[name],
                        Step::Item => &value[0],
                    })
                    .clone();
                value[*second] = part(second);
                let is_right = |path: &str| if is_union { path == here } else { path.starts_with(&here) };
                self.refused(&format!("{first} and {second}"), Some(value), is_right, "", tried);
            }
        }
    }

    fn list(&self, item: &str, min: Option<usize>, max: Option<usize>, tried: &mut Tried) {
        let at = [&self.steps[..], &[Step::Item]].concat();
        let of = |length: usize| {
            json!((0..length).map(|_| build(self.shapes, item, &[], &at)).collect::<Vec<_>>())
        };
        if let Some(min) = min {
            tried.bounds.insert((self.shape.to_owned(), "min"));
            self.taken("fewest items", Some(of(min)), tried);
            if min > 0 {
                self.refused_here("too few items", of(min - 1), "items; this one has", tried);
            }
        }
        match max {
            Some(max) => {
                tried.bounds.insert((self.shape.to_owned(), "max"));
                self.taken("most items", Some(of(max)), tried);
                self.refused_here("too many items", of(max + 1), "items; this one has", tried);
            }
            None => self.taken("many items", Some(of(100)), tried),
        }
    }

    fn words(&self, allowed: &[String], tried: &mut Tried) {
        for word in allowed {
            tried.bounds.insert((self.shape.to_owned(), "enum"));
            self.taken("a known word", Some(json!(word)), tried);
            let flip = |c: char| {
                if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
            };
            let flipped: String = word.chars().map(flip).collect();
            for stranger in [format!("{word}x"), flipped, String::new()] {
                self.refused_here("an unknown word", json!(stranger), "must be one of", tried);
            }
        }
    }

    fn pattern(&self, pattern: Option<&str>, tried: &mut Tried) {
        let Some(pattern) = pattern else { return };
        tried.bounds.insert((self.shape.to_owned(), "pattern"));
        for (text, matches) in &self.shapes.patterns[pattern] {
            match matches {
                true => self.taken("a text that matches", Some(json!(text)), tried),
                false => self.refused_here("a text that does not match", json!(text), "must be of", tried),
            }
        }
    }

    fn lengths(&self, min: Option<usize>, max: Option<usize>, tried: &mut Tried) {
        for (bound, length, outside) in
            [("min", min, min.and_then(|min| min.checked_sub(1))), ("max", max, max.map(|max| max + 1))]
        {
            let Some(length) = length else { continue };
            tried.bounds.insert((self.shape.to_owned(), bound));
            if let Some(outside) = outside {
                let rule = if self.is_narrowed(bound, tried) { "" } else { "characters; this one has" };
                self.refused_here("a length outside", json!("a".repeat(outside)), rule, tried);
            }
            let at = text(&self.path(), length);
            match self.is_narrowed(bound, tried) {
                true => self.refused_here("a narrowed length", json!("a".repeat(length)), "", tried),
                false if at.chars().count() == length => {
                    self.taken("the length at the bound", Some(json!(at)), tried)
                }
                false => {
                    tried.failures.push(format!("{}, {}: no sample of {length}", self.root, self.path()))
                }
            }
        }
    }

    fn numbers(&self, min: Option<i64>, max: Option<i64>, tried: &mut Tried) {
        for (bound, value, outside) in
            [("min", min, min.map(|min| min - 1)), ("max", max, max.map(|max| max + 1))]
        {
            let (Some(value), Some(outside)) = (value, outside) else {
                let far = if bound == "min" { i64::from(i32::MIN) } else { i64::from(i32::MAX) };
                self.taken("a number where there is no bound", Some(json!(far)), tried);
                continue;
            };
            tried.bounds.insert((self.shape.to_owned(), bound));
            self.refused_here("a number outside", json!(outside), "; it is", tried);
            match self.is_narrowed(bound, tried) {
                true => {
                    let here = self.path();
                    let is_right = |path: &str| here.starts_with(path);
                    // Not mended: that is what the mending is for.
                    let mut spec = self.with(Some(json!(value)));
                    let place = self.steps.iter().fold(&mut spec, |value, step| match step {
                        Step::Member(name) => &mut value[name],
                        Step::Item => &mut value[0],
                    });
                    *place = json!(value);
                    tried.cases += 1;
                    match parse(self.key, spec) {
                        Err(error) if is_right(&error.path) => {}
                        other => tried.failures.push(format!("{here}: {other:?}")),
                    }
                }
                false => self.taken("the number at the bound", Some(json!(value)), tried),
            }
        }
    }

    fn is_narrowed(&self, bound: &str, tried: &mut Tried) -> bool {
        let path = self.path();
        let found = NARROWED.iter().position(|(end, bounds)| path.ends_with(end) && bounds.contains(bound));
        tried.narrowed.extend(found);
        found.is_some()
    }
}
