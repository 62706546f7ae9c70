//! Compiles again when the page changes.

fn main() {
    println!("cargo:rerun-if-changed=../ui/dist");
}
