//! Tags: what people hang on a resource to find it again. No part of a spec, and nothing that a proxy sees.

use std::collections::BTreeMap;

use super::shape::{Field, Invalid, Rule};

/// Longest value, in characters.
const MAX_VALUE: usize = 256;

/// Tags by key. How many a resource may have is the store's to say, because it adds up over calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// Most that one resource may have.
    pub const MAX: usize = 50;
    /// Longest key, in characters.
    pub const MAX_KEY: usize = 128;

    /// Reads a list of `{"key": …, "value": …}`.
    ///
    /// # Errors
    /// A member that is absent or too long, or a key that comes twice.
    pub(crate) fn parse(list: &[Field<'_>]) -> Result<Self, Invalid> {
        let mut tags = BTreeMap::new();
        for field in list {
            let tag = field.object()?;
            let key = tag.required("key")?.text(1..=Self::MAX_KEY)?;
            let value = tag.required("value")?.text(0..=MAX_VALUE)?;
            if tags.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(tag.invalid("key", Rule::Other("must not come twice in one list".into())));
            }
        }
        Ok(Self(tags))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keys and values, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The tags whose keys come after `after`, in the order of keys.
    pub fn iter_after(&self, after: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
        self.iter().skip_while(move |(key, _)| after.is_some_and(|after| *key <= after))
    }

    /// These and `others`, which win.
    #[must_use]
    pub(crate) fn with(&self, others: &Self) -> Self {
        let mut tags = self.0.clone();
        tags.extend(others.0.iter().map(|(key, value)| (key.clone(), value.clone())));
        Self(tags)
    }

    /// These but for some keys, which need not be there.
    #[must_use]
    pub(crate) fn without(&self, keys: &[String]) -> Self {
        let mut tags = self.0.clone();
        keys.iter().for_each(|key| drop(tags.remove(key)));
        Self(tags)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Tags {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(tags: I) -> Self {
        Self(tags.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(value: &Value) -> Result<Tags, String> {
        let items = Field::root("tags", value).items(0..=usize::MAX).unwrap();
        Tags::parse(&items).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_of_tags_is_read_and_a_bad_one_is_refused_by_the_member() {
        let tags = parse(&json!([{"key": "b", "value": ""}, {"key": "a", "value": "1"}])).unwrap();
        assert_eq!(tags.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "")]);
        let long = |length| "é".repeat(length);
        assert!(parse(&json!([{"key": long(Tags::MAX_KEY), "value": long(MAX_VALUE)}])).is_ok());
        let cases = [
            (json!([{"key": "a"}]), "tags[0].value: is required"),
            (json!([{"key": "", "value": ""}]), "tags[0].key: must have 1 to 128 characters; this one has 0"),
            (
                json!([{"key": long(129), "value": ""}]),
                "tags[0].key: must have 1 to 128 characters; this one has 129",
            ),
            (
                json!([{"key": "a", "value": long(257)}]),
                "tags[0].value: must have 0 to 256 characters; this one has 257",
            ),
            (
                json!([{"key": "a", "value": "1"}, {"key": "a", "value": "1"}]),
                "tags[1].key: must not come twice in one list",
            ),
        ];
        for (value, message) in cases {
            assert_eq!(parse(&value), Err(message.to_owned()));
        }
    }

    #[test]
    fn later_tags_win_and_a_page_goes_on_after_any_key() {
        let tags: Tags = [("a", "1"), ("b", "2")].into_iter().collect();
        let tags = tags.with(&[("b", "3"), ("c", "4")].into_iter().collect());
        assert_eq!(tags.iter_after(Some("a")).collect::<Vec<_>>(), [("b", "3"), ("c", "4")]);
        assert_eq!(tags.iter_after(Some("aa")).count(), 2);
        assert_eq!(tags.without(&["a".to_owned(), "x".to_owned()]).len(), 2);
    }
}
