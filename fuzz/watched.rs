//! What a call takes: memory and processor time.
//!
//! Both are counted for the whole process, so that threads of libraries count too; targets run one at a time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// No input may take longer.
const MOST_TIME: Duration = Duration::from_secs(1);
/// Calls of which the fastest counts, if the first takes longer than that, each after a longer pause. In two of fifty rounds
/// calls took over a second whose inputs take milliseconds when the round is run again; pauses of a virtual machine by its host would
/// explain that, and it is not proven. A reader that takes too long does so every time.
const CALLS: u32 = 6;
/// Bytes that any reader may take beside the multiple of its input: buffers, tables, messages.
const ALWAYS: usize = 8 << 20;

/// What was most of an input of the target that runs: bytes of memory, microseconds.
static MOST_TAKEN: AtomicUsize = AtomicUsize::new(0);
static LONGEST: AtomicUsize = AtomicUsize::new(0);

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with a count of what is allocated.
pub struct Counting;

impl Counting {
    fn add(bytes: usize) {
        PEAK.fetch_max(LIVE.fetch_add(bytes, Relaxed) + bytes, Relaxed);
    }
}

// SAFETY: all calls go to the system's allocator as they are.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::add(layout.size());
        // SAFETY: by this function's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Counting::add(layout.size());
        // SAFETY: by this function's contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counting::add(size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: by this function's contract.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: by this function's contract.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Inputs of a target, said on standard error at its end, past the capture of the test harness, with what was most of one.
#[derive(Default)]
pub struct Inputs(AtomicUsize);

impl Inputs {
    /// One more.
    pub fn count(&self) {
        self.count_many(1);
    }

    /// So many more.
    pub fn count_many(&self, inputs: usize) {
        self.0.fetch_add(inputs, Relaxed);
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        let thread = std::thread::current();
        let (name, inputs) = (thread.name().unwrap_or("a target"), self.0.load(Relaxed));
        let (taken, longest) = (MOST_TAKEN.swap(0, Relaxed) / 1024, LONGEST.swap(0, Relaxed));
        let line = format!("{name}: {inputs} inputs; a call took {taken} kB and {longest} us at most\n");
        std::io::stderr().write_all(line.as_bytes()).expect("standard error is there");
    }
}

/// Calls a reader of `bytes` of input, which may allocate `times` as many bytes, and [`ALWAYS`].
///
/// # Panics
/// If it takes more, or more than [`MOST_TIME`] each time that it is called.
pub fn watched<T>(bytes: usize, times: usize, call: impl Fn() -> T) -> T {
    let timed = || {
        let start = processor_time();
        (call(), processor_time() - start)
    };
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let (result, mut time) = timed();
    let taken = PEAK.load(Relaxed).saturating_sub(before);
    for call in 1..CALLS {
        if time > MOST_TIME {
            std::thread::sleep(Duration::from_millis(100) * 2u32.pow(call));
            time = time.min(timed().1);
        }
    }
    MOST_TAKEN.fetch_max(taken, Relaxed);
    LONGEST.fetch_max(time.as_micros() as usize, Relaxed);
    assert!(taken <= ALWAYS + times * bytes, "{taken} bytes of memory for {bytes} of input");
    assert!(time <= MOST_TIME, "{time:?} for {bytes} bytes of input");
    result
}

/// Processor time of all threads of this process: that of other programs does not count.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock is there, and the time may be written.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "there is a clock of the processor's time");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
#[should_panic(expected = "bytes of memory for 10 of input")]
fn too_much_memory_is_seen() {
    watched(10, 2, || std::hint::black_box(vec![1u8; ALWAYS + 21]).len());
}

#[test]
#[should_panic(expected = "for 10 bytes of input")]
fn too_much_time_is_seen() {
    watched(10, 2, || {
        let start = processor_time();
        while processor_time() - start <= MOST_TIME {
            std::hint::spin_loop();
        }
    });
}

#[test]
fn a_pause_of_the_machine_is_no_time_of_a_reader() {
    let is_first = AtomicBool::new(true);
    watched(10, 2, || {
        let start = processor_time();
        while is_first.load(Relaxed) && processor_time() - start <= MOST_TIME {
            std::hint::spin_loop();
        }
        is_first.store(false, Relaxed);
    });
}

#[test]
fn memory_that_is_allowed_is_allowed() {
    watched(10, 2, || std::hint::black_box(vec![1u8; ALWAYS]).len());
}
