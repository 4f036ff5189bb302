//! FeOxDB as C functions that take a handle. Values are taken with `get_bytes`, which does not copy
//! in memory, and copied once into the caller's buffer.

use feoxdb::FeoxStore;
use std::os::raw::{c_char, c_void};
use std::slice::from_raw_parts;

type Sink = unsafe extern "C" fn(*mut c_void, *const u8, *const u8, usize);

/// `path` may be null: memory only. Zero in `hash_bits` or `file_size` is the default; `unlimited`
/// takes the memory limit away, which otherwise limits the data.
///
/// # Safety
/// `path` is null or a string that ends with a zero.
#[no_mangle]
pub unsafe extern "C" fn feoxdb_open(
    path: *const c_char,
    hash_bits: u32,
    file_size: u64,
    unlimited: bool,
    caching: bool,
) -> *mut FeoxStore {
    let mut builder = FeoxStore::builder();
    if !path.is_null() {
        let text = unsafe { std::ffi::CStr::from_ptr(path) };
        builder = builder.device_path(text.to_string_lossy().into_owned());
    }
    if hash_bits != 0 {
        builder = builder.hash_bits(hash_bits);
    }
    if file_size != 0 {
        builder = builder.file_size(file_size);
    }
    if unlimited {
        builder = builder.no_memory_limit();
    }
    if caching {
        builder = builder.enable_caching(true);
    }
    match builder.build() {
        Ok(store) => Box::into_raw(Box::new(store)),
        Err(error) => {
            eprintln!("feoxdb: {error}");
            std::ptr::null_mut()
        }
    }
}

/// # Safety
/// `store` is from `feoxdb_open` and not used afterwards.
#[no_mangle]
pub unsafe extern "C" fn feoxdb_close(store: *mut FeoxStore) {
    drop(unsafe { Box::from_raw(store) });
}

/// # Safety
/// Pointers are valid for their lengths.
#[no_mangle]
pub unsafe extern "C" fn feoxdb_put(
    store: &FeoxStore,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    size: usize,
) -> bool {
    store.insert(unsafe { from_raw_parts(key, key_len) }, unsafe { from_raw_parts(value, size) }).is_ok()
}

/// # Safety
/// Pointers are valid for their lengths.
#[no_mangle]
pub unsafe extern "C" fn feoxdb_get(
    store: &FeoxStore,
    key: *const u8,
    key_len: usize,
    buffer: *mut u8,
    capacity: usize,
) -> usize {
    match store.get_bytes(unsafe { from_raw_parts(key, key_len) }) {
        Ok(value) => {
            let size = value.len().min(capacity);
            unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), buffer, size) };
            value.len()
        }
        Err(_) => 0,
    }
}

/// # Safety
/// Pointers are valid for their lengths.
#[no_mangle]
pub unsafe extern "C" fn feoxdb_remove(store: &FeoxStore, key: *const u8, key_len: usize) -> bool {
    store.delete(unsafe { from_raw_parts(key, key_len) }).is_ok()
}

/// # Safety
/// Pointers are valid for their lengths; `sink` may be called with `context`.
#[no_mangle]
pub unsafe extern "C" fn feoxdb_scan(
    store: &FeoxStore,
    key: *const u8,
    key_len: usize,
    count: usize,
    sink: Sink,
    context: *mut c_void,
) -> usize {
    let end = [0xff_u8; 64];
    match store.range_query(unsafe { from_raw_parts(key, key_len) }, &end, count) {
        Ok(pairs) => {
            for (found, value) in &pairs {
                unsafe { sink(context, found.as_ptr(), value.as_ptr(), value.len()) };
            }
            pairs.len()
        }
        Err(_) => 0,
    }
}

#[no_mangle]
pub extern "C" fn feoxdb_flush(store: &FeoxStore) -> bool {
    store.flush_all().is_ok()
}
