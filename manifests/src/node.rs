//! Text to a tree that knows its lines. JSON is YAML, so one reader serves both.
//!
//! Whoever wrote the text is a stranger: length, depth and the growth of aliases are bounded.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use granit_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::Value;

use crate::place::{Fault, Place};

/// Longest file, in bytes.
const MAX_BYTES: usize = 16 << 20;
/// Most values of a file, those that aliases repeat included.
const MAX_NODES: usize = 1_000_000;
/// Deepest nesting.
const MAX_DEPTH: usize = 100;

/// A value of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    /// `Sub` of `!Sub`.
    pub(crate) tag: Option<Box<str>>,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A text, number, boolean or null: which of them, its reader decides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// A quoted one is text and nothing else.
    pub(crate) is_quoted: bool,
}

/// A member of a map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) value: Node,
}

impl Node {
    /// A text that stands nowhere but in place of what is at `place`.
    pub(crate) fn text_at(place: &Place, text: impl Into<String>) -> Self {
        let content = Content::Scalar(Scalar { text: text.into(), is_quoted: true });
        Self { place: place.clone(), tag: None, content }
    }

    pub(crate) fn fault(&self, what: impl Into<String>) -> Fault {
        self.place.fault(what)
    }

    /// What it is, with an article.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.content {
            Content::Scalar(scalar) if scalar.is_null() => "nothing",
            Content::Scalar(_) => "a single value",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.tag.is_none() && matches!(&self.content, Content::Scalar(scalar) if scalar.is_null())
    }

    /// A value of a map; null counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        let Content::Map(entries) = &self.content else { return None };
        entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value)
            .filter(|value| !value.is_null())
    }

    pub(crate) fn entries(&self) -> Result<&[Entry], Fault> {
        match &self.content {
            Content::Map(entries) => Ok(entries),
            Content::Scalar(_) | Content::List(_) => {
                Err(self.fault(format!("must be a mapping, not {}", self.kind())))
            }
        }
    }

    pub(crate) fn items(&self) -> Result<&[Node], Fault> {
        match &self.content {
            Content::List(items) => Ok(items),
            Content::Scalar(_) | Content::Map(_) => {
                Err(self.fault(format!("must be a list, not {}", self.kind())))
            }
        }
    }

    /// As [`Node::text`], but `""` is a text like others, and so is nothing at all.
    pub(crate) fn text_or_empty(&self) -> Result<String, Fault> {
        if self.is_null() { Ok(String::new()) } else { self.text().map(str::to_owned) }
    }

    /// The text of a single value that is not null.
    pub(crate) fn text(&self) -> Result<&str, Fault> {
        match &self.content {
            Content::Scalar(scalar) if !scalar.is_null() => Ok(&scalar.text),
            Content::Scalar(_) | Content::List(_) | Content::Map(_) => {
                Err(self.fault(format!("must be a text, not {}", self.kind())))
            }
        }
    }
}

impl Scalar {
    fn is_null(&self) -> bool {
        !self.is_quoted && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match (self.is_quoted, self.text.as_str()) {
            (false, "true" | "True" | "TRUE") => Some(true),
            (false, "false" | "False" | "FALSE") => Some(false),
            _ => None,
        }
    }

    /// By YAML's core schema.
    pub(crate) fn json(&self) -> Value {
        if self.is_quoted {
            return Value::from(self.text.as_str());
        }
        if self.is_null() {
            return Value::Null;
        }
        if let Some(known) = self.as_bool() {
            return Value::Bool(known);
        }
        let looks_numeric =
            self.text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
        let digits = self.text.strip_prefix('+').unwrap_or(&self.text);
        let integer =
            digits.parse::<i64>().map(Value::from).or_else(|_| digits.parse::<u64>().map(Value::from));
        match (integer, digits.parse::<f64>()) {
            (Ok(integer), _) => integer,
            (Err(_), Ok(fraction)) if looks_numeric && fraction.is_finite() => Value::from(fraction),
            _ => Value::from(self.text.as_str()),
        }
    }
}

/// The documents of a file, without the empty ones.
///
/// # Errors
/// It is not YAML or JSON, has a member twice, or is larger or deeper than anybody writes by hand.
pub(crate) fn documents(file: &Arc<str>, text: &str) -> Result<Vec<Node>, Fault> {
    let mut builder = Builder {
        file: file.clone(),
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        documents: Vec::new(),
    };
    if text.len() > MAX_BYTES {
        return Err(builder.place(1).fault(format!("the file is longer than {} MiB", MAX_BYTES >> 20)));
    }
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let what = format!("is neither YAML nor JSON: {}", error.info());
            builder.place(error.marker().line()).fault(what)
        })?;
        builder.on(event, span.start.line())?;
    }
    builder.documents.retain(|document| !document.is_null());
    Ok(builder.documents)
}

struct Builder {
    file: Arc<str>,
    /// Lists and maps whose end has not come.
    open: Vec<Open>,
    /// What aliases stand for: the value, its size in nodes, its depth.
    anchors: HashMap<usize, (Node, usize, usize)>,
    nodes: usize,
    documents: Vec<Node>,
}

struct Open {
    node: Node,
    anchor: usize,
    /// Of a map: the key whose value has not come.
    key: Option<(String, Place)>,
    /// Of a map: the keys so far.
    keys: BTreeSet<String>,
    /// Values inside, itself included.
    size: usize,
    /// Of the deepest value inside.
    depth: usize,
}

/// How large a value is: values in it, itself included; levels; and what it adds to what was counted before.
struct Extent {
    size: usize,
    depth: usize,
    cost: usize,
}

impl Builder {
    fn place(&self, line: usize) -> Place {
        Place { file: self.file.clone(), line: line.max(1) }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest, and what the crate may add, holds no value"
    )]
    fn on(&mut self, event: Event<'_>, line: usize) -> Result<(), Fault> {
        let place = self.place(line);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let (tag, is_text) = tag_of(tag.as_deref());
                let is_quoted = is_text || style != ScalarStyle::Plain;
                let content = Content::Scalar(Scalar { text: text.into_owned(), is_quoted });
                self.add(Node { place, tag, content }, anchor, Extent { size: 1, depth: 1, cost: 1 })
            }
            Event::SequenceStart(_, anchor, tag) => {
                let (tag, _) = tag_of(tag.as_deref());
                self.start(Node { place, tag, content: Content::List(Vec::new()) }, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                let (tag, _) = tag_of(tag.as_deref());
                self.start(Node { place, tag, content: Content::Map(Vec::new()) }, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => {
                    let node = merged(open.node)?;
                    // What is inside was counted when it was added.
                    let extent = Extent { size: open.size, depth: open.depth, cost: 1 };
                    self.add(node, open.anchor, extent)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let Some((node, size, depth)) = self.anchors.get(&anchor).cloned() else {
                    return Err(place.fault("this alias stands for something that holds it"));
                };
                self.add(Node { place, ..node }, 0, Extent { size, depth, cost: size })
            }
            _ => Ok(()),
        }
    }

    fn start(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(node.fault(format!("is nested more than {MAX_DEPTH} deep")));
        }
        self.open.push(Open { node, anchor, key: None, keys: BTreeSet::new(), size: 1, depth: 1 });
        Ok(())
    }

    /// Puts a whole value into what is open.
    fn add(&mut self, node: Node, anchor: usize, extent: Extent) -> Result<(), Fault> {
        let Extent { size, depth, cost } = extent;
        // What has an anchor is kept for its aliases too.
        self.nodes += if anchor == 0 { cost } else { cost + size };
        if self.nodes > MAX_NODES {
            return Err(node.fault(format!("the file has more than {MAX_NODES} values, aliases included")));
        }
        if self.open.len() + depth > MAX_DEPTH {
            return Err(node.fault(format!("is nested more than {MAX_DEPTH} deep")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size, depth));
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        open.size += size;
        open.depth = open.depth.max(depth + 1);
        match (&mut open.node.content, open.key.take()) {
            (Content::List(items), _) => items.push(node),
            (Content::Map(entries), Some((key, place))) => entries.push(Entry { key, place, value: node }),
            (Content::Map(_), None) => {
                let key = match &node.content {
                    Content::Scalar(scalar) => scalar.text.clone(),
                    Content::List(_) | Content::Map(_) => return Err(node.fault("a key must be a text")),
                };
                if !open.keys.insert(key.clone()) {
                    return Err(node.fault(format!("{key:?} is here for the second time")));
                }
                open.key = Some((key, node.place));
            }
            (Content::Scalar(_), _) => {}
        }
        Ok(())
    }
}

/// The name of a tag of the caller's own, and whether YAML's own tags say that it is text.
fn tag_of(tag: Option<&Tag>) -> (Option<Box<str>>, bool) {
    match tag.map(|tag| (tag.is_yaml_core_schema(), tag.suffix())) {
        None => (None, false),
        Some((true, name)) => (None, name == "str"),
        Some((false, "")) => (None, true),
        Some((false, name)) => (Some(name.into()), false),
    }
}

/// A map with the members that `<<` brings into it.
fn merged(mut node: Node) -> Result<Node, Fault> {
    let Content::Map(entries) = &mut node.content else { return Ok(node) };
    let Some(index) = entries.iter().position(|entry| entry.key == "<<") else { return Ok(node) };
    let merge = entries.remove(index).value;
    let sources = match merge.content {
        Content::List(items) => items,
        Content::Map(_) | Content::Scalar(_) => vec![merge],
    };
    for source in sources {
        for entry in source.entries()? {
            if !entries.iter().any(|own| own.key == entry.key) {
                entries.push(entry.clone());
            }
        }
    }
    Ok(node)
}

#[cfg(test)]
mod tests;
