//! Tells an owner that an actor ended, however it ended. `stopped()` is not called for a panic; a drop is.

/// Runs its closure once, when dropped, with `true` if the thread is unwinding from a panic.
pub struct Linked<F: FnOnce(bool)>(Option<F>);

impl<F: FnOnce(bool)> Linked<F> {
    pub fn new(on_end: F) -> Self {
        Linked(Some(on_end))
    }
}

impl<F: FnOnce(bool)> Drop for Linked<F> {
    fn drop(&mut self) {
        if let Some(on_end) = self.0.take() {
            on_end(std::thread::panicking());
        }
    }
}
