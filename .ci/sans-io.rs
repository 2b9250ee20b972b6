//! A program without the standard library that uses rusgi-proto; built and run by `sans-io.sh`.

#![no_std]
#![no_main]

extern crate alloc;

#[cfg(feature = "leak")]
extern crate leak as _;

use alloc::vec::Vec;
use core::{
    alloc::{GlobalAlloc, Layout},
    ffi::{c_int, c_void},
    panic::PanicInfo,
    ptr,
};

use rusgi_proto::{Modifier1, Packet, PacketBuilder, Parsed, ResponseHead};

#[link(name = "c")]
unsafe extern "C" {
    fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void;
    fn free(memory: *mut c_void);
    fn abort() -> !;
}

/// The exit code is 0, or the number of what did not hold.
#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const u8) -> c_int {
    let Ok(builder) = PacketBuilder::new(Modifier1::WSGI).var(b"PATH_INFO", b"/") else {
        return 1;
    };
    let bytes: Vec<u8> = builder.encode();
    let Ok(Parsed::Complete { packet, rest: [] }) = Packet::parse(&bytes) else {
        return 2;
    };
    let mut head = ResponseHead::new();
    if packet.vars.get(b"PATH_INFO") != Some(b"/") || head.start(b"200 OK").is_err() {
        return 3;
    }
    if head.finish(Some(0)) == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" {
        0
    } else {
        4
    }
}

struct Libc;

#[global_allocator]
static ALLOCATOR: Libc = Libc;

// SAFETY: aligned_alloc and free keep the contract of GlobalAlloc; alloc below gives them sound sizes.
unsafe impl GlobalAlloc for Libc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let alignment = layout.align().max(align_of::<*const ()>());
        let Some(size) = layout.size().checked_next_multiple_of(alignment) else {
            return ptr::null_mut();
        };
        // SAFETY: the alignment is a power of two and the size a multiple of it, both made so above.
        unsafe { aligned_alloc(alignment, size) }.cast()
    }

    unsafe fn dealloc(&self, memory: *mut u8, _: Layout) {
        // SAFETY: the caller of dealloc hands back what alloc gave out.
        unsafe { free(memory.cast()) }
    }
}

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: abort may be called from anywhere.
    unsafe { abort() }
}

/// Named by the unwind tables of the ready-made `alloc`, never called: a panic aborts.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
