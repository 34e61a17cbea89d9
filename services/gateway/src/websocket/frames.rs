//! Where one WebSocket frame ends and the next begins (RFC 6455 §5.2).

/// Follows the bytes of one direction.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// What has been seen of the current frame's head.
    head: Vec<u8>,
    /// What is left of its payload.
    left: u64,
}

impl Frames {
    /// Takes the next bytes into account.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left = self.left.saturating_sub(u64::try_from(taken).unwrap_or(u64::MAX));
                bytes = bytes.get(taken..).unwrap_or_default();
            } else {
                self.head.push(*first);
                bytes = rest;
                if let Some(length) = payload_length(&self.head) {
                    self.head.clear();
                    self.left = length;
                }
            }
        }
    }

    /// Whether the last frame is complete.
    pub(super) fn is_between(&self) -> bool {
        self.head.is_empty() && self.left == 0
    }
}

/// The length of the payload, once the whole head is there.
fn payload_length(head: &[u8]) -> Option<u64> {
    let (_, rest) = head.split_first()?;
    let (second, rest) = rest.split_first()?;
    let masked = second & 0x80 != 0;
    let (length, rest) = match second & 0x7F {
        126 => rest
            .split_first_chunk()
            .map(|(length, rest)| (u64::from(u16::from_be_bytes(*length)), rest))?,
        127 => rest
            .split_first_chunk()
            .map(|(length, rest)| (u64::from_be_bytes(*length), rest))?,
        short => (u64::from(short), rest),
    };
    let mask = if masked { 4 } else { 0 };
    (rest.len() == mask).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(payload: usize, masked: bool) -> Vec<u8> {
        let mask_bit = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x82];
        match u16::try_from(payload) {
            Ok(short @ 0..=125) => bytes.push(mask_bit | u8::try_from(short).expect("short")),
            Ok(length) => {
                bytes.push(mask_bit | 0x7E);
                bytes.extend(length.to_be_bytes());
            }
            Err(_) => {
                bytes.push(mask_bit | 0x7F);
                bytes.extend(u64::try_from(payload).expect("fits").to_be_bytes());
            }
        }
        if masked {
            bytes.extend([1, 2, 3, 4]);
        }
        bytes.extend(vec![0; payload]);
        bytes
    }

    proptest! {
        #[test]
        fn it_is_between_frames_exactly_at_their_ends(
            sizes in prop::collection::vec((prop_oneof![0..300usize, 65_530..65_540usize], any::<bool>()), 1..4),
            step in 1..5000usize,
        ) {
            let frames: Vec<Vec<u8>> = sizes.iter().map(|(size, masked)| frame(*size, *masked)).collect();
            let ends: Vec<usize> = frames.iter().scan(0, |at, frame| { *at += frame.len(); Some(*at) }).collect();
            let bytes = frames.concat();
            let mut follower = Frames::default();
            let mut at = 0;
            for chunk in bytes.chunks(step) {
                follower.pass(chunk);
                at += chunk.len();
                prop_assert_eq!(follower.is_between(), ends.contains(&at));
            }
        }
    }
}
