//! Compiles the `.proto` files without `protoc`.
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files = ["Protos/mics_message.proto", "Protos/mics_hook.proto", "Protos/mics_node.proto"];
    println!("cargo:rerun-if-changed=Protos");
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure().bytes(".").build_transport(true).compile_fds(descriptors)?;
    Ok(())
}
