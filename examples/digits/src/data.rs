//! The table, parsed while compiling: a sandbox starts with the numbers in its memory.

/// Pixels of a picture, 8 by 8.
pub(crate) const PIXELS: usize = 64;

/// The brightest a pixel can be.
pub(crate) const BRIGHTEST: u8 = 16;

const COUNT: usize = 1797;

/// One picture, and what it shows.
#[derive(Clone, Copy)]
pub(crate) struct Digit {
    pub(crate) pixels: [u8; PIXELS],
    /// 0 to 9.
    pub(crate) label: u8,
}

/// All pictures, in the order of the file.
pub(crate) static DIGITS: [Digit; COUNT] = parse(include_bytes!("../data/digits.csv"));

/// Reads lines of 65 small numbers; anything else does not compile.
const fn parse(text: &[u8]) -> [Digit; COUNT] {
    let mut digits = [Digit {
        pixels: [0; PIXELS],
        label: 0,
    }; COUNT];
    let mut at = 0;
    let mut row = 0;
    while row < COUNT {
        let mut column = 0;
        while column <= PIXELS {
            let mut number = 0;
            while text[at].is_ascii_digit() {
                number = number * 10 + (text[at] - b'0');
                at += 1;
            }
            assert!(text[at] == if column < PIXELS { b',' } else { b'\n' });
            at += 1;
            if column < PIXELS {
                assert!(number <= BRIGHTEST);
                digits[row].pixels[column] = number;
            } else {
                assert!(number < 10);
                digits[row].label = number;
            }
            column += 1;
        }
        row += 1;
    }
    assert!(at == text.len());
    digits
}
