//! One test per transcript, each in several segmentations.

use super::script::play;

/// Cuts that differ and are the same every time.
fn cuts(seed: u64) -> impl FnMut() -> usize {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % 17 + 1
    }
}

fn play_in_pieces(name: &str, script: &str) {
    play(name, script, || usize::MAX);
    play(name, script, || 1);
    play(name, script, || 2);
    for seed in 0..8 {
        play(name, script, cuts(seed));
    }
}

macro_rules! transcripts {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let script = include_str!(concat!("../transcripts/", stringify!($name), ".txt"));
            play_in_pieces(stringify!($name), script);
        }
    )*};
}

transcripts! {
    first_session
}
