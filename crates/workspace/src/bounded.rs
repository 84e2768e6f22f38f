use std::ops::Deref;

/// A list that ends at a bound of ours, and says whether it did: what is cut must not look whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounded<T> {
    /// What is in it.
    pub items: Vec<T>,
    /// Whether there is more.
    pub is_cut: bool,
}

impl<T> Bounded<T> {
    /// The first `most` of a list.
    pub(crate) fn first(mut items: Vec<T>, most: usize) -> Self {
        let is_cut = items.len() > most;
        items.truncate(most);
        Self { items, is_cut }
    }
}

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            is_cut: false,
        }
    }
}

impl<T> Deref for Bounded<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> IntoIterator for Bounded<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}
