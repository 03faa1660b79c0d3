//! Sets `cfg(loom)` for this package alone. As a flag for all packages it would have every
//! dependency built a second time.

fn main() {
    println!("cargo::rustc-cfg=loom");
    println!("cargo::rerun-if-changed=build.rs");
}
