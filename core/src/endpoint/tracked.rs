//! A value that knows whether it may have changed.

use core::ops::{Deref, DerefMut};

/// See the module. Nothing but [`settle`](Self::settle) can hide a change: whoever borrows the value mutably marks it.
#[derive(Debug)]
pub(super) struct Tracked<T> {
    value: T,
    changed: bool,
}

impl<T> Tracked<T> {
    /// It counts as changed.
    pub(super) const fn new(value: T) -> Self {
        Self { value, changed: true }
    }

    /// Whether it may have changed since [`settle`](Self::settle).
    pub(super) const fn is_changed(&self) -> bool {
        self.changed
    }

    /// What depends on it is in line with it now.
    pub(super) const fn settle(&mut self) {
        self.changed = false;
    }
}

impl<T> Deref for Tracked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Tracked<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.changed = true;
        &mut self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_changes_nothing_and_a_mutable_borrow_counts_as_a_change() {
        let mut value = Tracked::new([1, 2]);
        assert!(value.is_changed(), "nobody knows it yet");
        value.settle();
        assert_eq!((value.first(), value.is_changed()), (Some(&1), false));
        value.swap(0, 1);
        assert!(value.is_changed());
    }
}
