//! Serial numbers.

use std::{fmt, num::NonZeroU128, str::FromStr};

use thiserror::Error;

use crate::Random;

/// A certificate's serial number: 128 random bits, never zero, so at most 17 octets in DER
/// (RFC 5280, section 4.1.2.2, allows 20). Written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(NonZeroU128);

/// A text that is no serial number.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a serial number is 32 hexadecimal digits and not zero")]
pub struct InvalidSerial;

impl Serial {
    /// Draws a serial. That it was never used before, the ledger makes sure of.
    #[must_use]
    pub fn draw(random: &Random) -> Self {
        Self(NonZeroU128::new(u128::from_be_bytes(random.bytes())).unwrap_or(NonZeroU128::MIN))
    }

    /// The number, most significant byte first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.get().to_be_bytes()
    }

    /// Reads a number of at most 16 octets, as a certificate holds it: leading zeros are allowed.
    #[must_use]
    pub fn from_be_bytes(bytes: &[u8]) -> Option<Self> {
        let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        let mut number = [0; 16];
        number.get_mut(16_usize.checked_sub(significant.len())?..)?.copy_from_slice(significant);
        NonZeroU128::new(u128::from_be_bytes(number)).map(Self)
    }
}

impl FromStr for Serial {
    type Err = InvalidSerial;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes: [u8; 16] =
            hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(InvalidSerial)?;
        Self::from_be_bytes(&bytes).ok_or(InvalidSerial)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_reads_back_from_its_text_and_from_its_bytes() {
        let random = Random::dangerously_from_seed(1);
        for _ in 0..100 {
            let serial = Serial::draw(&random);
            assert_eq!(serial.to_string().parse(), Ok(serial));
            assert_eq!(Serial::from_be_bytes(&serial.to_bytes()), Some(serial));
            let mut padded = vec![0];
            padded.extend(serial.to_bytes());
            assert_eq!(Serial::from_be_bytes(&padded), Some(serial));
        }
    }

    #[test]
    fn zero_and_numbers_over_128_bits_are_no_serials() {
        assert_eq!(Serial::from_be_bytes(&[0; 16]), None);
        assert_eq!(Serial::from_be_bytes(&[]), None);
        assert_eq!(Serial::from_be_bytes(&[1; 17]), None);
        for text in ["", "00", &"0".repeat(32), &"g".repeat(32), &"1".repeat(34)] {
            assert_eq!(text.parse::<Serial>(), Err(InvalidSerial), "{text}");
        }
    }

    #[test]
    fn a_million_serials_of_three_issuers_over_a_hundred_restarts_are_all_different() {
        let mut seen = std::collections::HashSet::with_capacity(1_000_000);
        for _restart in 0..100 {
            let issuers = [(); 3].map(|()| Random::system());
            seen.extend((0..10_000).map(|turn| Serial::draw(&issuers[turn % 3])));
        }
        assert_eq!(seen.len(), 1_000_000);
    }
}
