//! Lets the embedding binary find the libpython it was linked with, wherever that interpreter was installed, and the code
//! see whether that interpreter has a GIL.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    pyo3_build_config::add_libpython_rpath_link_args();
}
