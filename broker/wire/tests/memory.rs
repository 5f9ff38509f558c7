//! Decoding hostile frames takes no more memory than the reader's budget, measured at the allocator.
//!
//! One test, because the peak is that of the whole process.

use bytes::Bytes;
use ottla_wire::messages::CATALOGUE;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What `Reader::new` allows per byte and on top, and as much again for what is written back.
const PER_BYTE: usize = 20;
const ON_TOP: usize = 128 * 1024;

#[test]
fn no_frame_makes_a_decoder_allocate_beyond_its_budget() {
    for fill in [0_u8, 1, 2, 0x7f, 0x80, 0xff] {
        for length in [16, 4 * 1024, 256 * 1024] {
            let mut frame = vec![fill; length];
            for count in [length as u32 / 4, length as u32, u32::MAX, 0x7fff_ffff] {
                frame[..4].copy_from_slice(&count.to_be_bytes());
                let frame = Bytes::from(frame.clone());
                for entry in CATALOGUE {
                    for version in entry.versions.clone() {
                        MEMORY.reset_peak_usage();
                        let before = MEMORY.current_usage();
                        let _ = (entry.recode)(frame.clone(), version);
                        let used = MEMORY.peak_usage().saturating_sub(before);
                        let allowed = ON_TOP + PER_BYTE * length;
                        assert!(used <= allowed, "{} {version}: {used} bytes for {length}", entry.name);
                    }
                }
            }
        }
    }
}
