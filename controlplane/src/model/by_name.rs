//! A map by names that is cheap to copy and to change at once.

use std::{borrow::Borrow, fmt, ops::Index, sync::Arc};

use rpds::RedBlackTreeMapSync;

/// Resources of a mesh by name, in the order of names.
///
/// Whoever follows the store holds the last model while the next one is made. A clone shares everything, and a
/// change to it copies the path to one entry: a write to a mesh of 10,000 nodes costs what it costs in one of 100.
#[derive(Clone)]
pub struct ByName<K: Ord, V>(RedBlackTreeMapSync<K, Arc<V>>);

impl<K: Ord + Clone, V> ByName<K, V> {
    /// The one of this name.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, name: &Q) -> Option<&Arc<V>>
    where
        K: Borrow<Q>,
    {
        self.0.get(name)
    }

    /// Whether there is one of this name.
    #[must_use]
    pub fn contains_key<Q: Ord + ?Sized>(&self, name: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(name)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.size()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and resources.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.0.iter()
    }

    /// The names.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.keys()
    }

    /// The resources.
    pub fn values(&self) -> impl Iterator<Item = &Arc<V>> {
        self.0.values()
    }

    /// Puts one in, in place of one of the same name.
    pub fn insert(&mut self, name: K, value: Arc<V>) {
        self.0.insert_mut(name, value);
    }

    /// Takes one out. Says whether it was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, name: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.remove_mut(name)
    }

    /// Changes the one of this name, which is made if it is not there and copied if somebody else holds it.
    pub fn edit(&mut self, name: &K, change: impl FnOnce(&mut V))
    where
        V: Clone + Default,
    {
        match self.0.get_mut(name) {
            Some(value) => change(Arc::make_mut(value)),
            None => {
                let mut value = V::default();
                change(&mut value);
                self.insert(name.clone(), value.into());
            }
        }
    }
}

/// In the order of names.
type Iter<'a, K, V> = <&'a RedBlackTreeMapSync<K, Arc<V>> as IntoIterator>::IntoIter;

impl<K: Ord, V> Default for ByName<K, V> {
    fn default() -> Self {
        Self(RedBlackTreeMapSync::new_sync())
    }
}

impl<K: Ord, V: PartialEq> PartialEq for ByName<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K: Ord + fmt::Debug, V: fmt::Debug> fmt::Debug for ByName<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<K: Ord + Clone, V> FromIterator<(K, Arc<V>)> for ByName<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, Arc<V>)>>(entries: I) -> Self {
        let mut map = Self::default();
        map.extend(entries);
        map
    }
}

impl<K: Ord + Clone, V> Extend<(K, Arc<V>)> for ByName<K, V> {
    fn extend<I: IntoIterator<Item = (K, Arc<V>)>>(&mut self, entries: I) {
        entries.into_iter().for_each(|(name, value)| self.insert(name, value));
    }
}

impl<K: Ord + Clone, V, const N: usize> From<[(K, Arc<V>); N]> for ByName<K, V> {
    fn from(entries: [(K, Arc<V>); N]) -> Self {
        entries.into_iter().collect()
    }
}

/// # Panics
/// There is none of this name.
impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for ByName<K, V> {
    type Output = Arc<V>;

    fn index(&self, name: &Q) -> &Arc<V> {
        &self.0[name]
    }
}

impl<'a, K: Ord, V> IntoIterator for &'a ByName<K, V> {
    type Item = (&'a K, &'a Arc<V>);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> ByName<String, usize> {
        (0..count).map(|number| (format!("{number:05}"), Arc::new(number))).collect()
    }

    #[test]
    fn names_are_in_order_and_each_is_there_once() {
        let mut map = numbers(3);
        map.insert("00001".into(), Arc::new(7));
        assert_eq!(
            map.iter().map(|(name, value)| (&**name, **value)).collect::<Vec<_>>(),
            [("00000", 0), ("00001", 7), ("00002", 2),]
        );
        assert!(map.remove("00000") && !map.remove("00000"));
        map.edit(&"00009".to_owned(), |value| *value += 9);
        map.edit(&"00009".to_owned(), |value| *value += 1);
        assert_eq!((map.len(), *map["00009"]), (3, 10));
    }

    #[test]
    fn a_change_to_a_clone_leaves_the_original_and_shares_the_rest() {
        let original = numbers(1000);
        let mut changed = original.clone();
        changed.edit(&"00500".to_owned(), |value| *value = 0);
        changed.remove("00001");
        assert_eq!(
            (*original["00500"], *changed["00500"], original.len(), changed.len()),
            (500, 0, 1000, 999)
        );
        assert!(Arc::ptr_eq(&original["00700"], &changed["00700"]));
        assert_ne!(original, changed);
    }
}
