//! A network of one hidden layer, or none, trained digit by digit.

use crate::data::{BRIGHTEST, Digit, PIXELS};
use crate::nearest::best;
use crate::random::Random;
use crate::{Network, Reader};

/// A layer's weights, row by row: one row per output, the bias last in it.
struct Layer {
    inputs: usize,
    weights: Vec<f32>,
}

pub(crate) struct Layers {
    hidden: Option<Layer>,
    output: Layer,
}

impl Layer {
    /// Small random weights, the smaller the more inputs add up.
    fn random(inputs: usize, outputs: usize, random: &mut Random) -> Self {
        let scale = (1.0 / inputs as f32).sqrt();
        let weights = (0..outputs * (inputs + 1))
            .map(|_| random.around_zero() * scale)
            .collect();
        Self { inputs, weights }
    }

    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.weights.chunks_exact(self.inputs + 1)
    }

    fn forward(&self, input: &[f32]) -> Vec<f32> {
        self.rows()
            .map(|row| dot(&row[..self.inputs], input) + row[self.inputs])
            .collect()
    }

    /// What each input would have to change by, for the outputs to change by `wanted`.
    fn backward(&self, wanted: &[f32]) -> Vec<f32> {
        let mut inputs = vec![0.0; self.inputs];
        for (row, wanted) in self.rows().zip(wanted) {
            for (input, weight) in inputs.iter_mut().zip(row) {
                *input += weight * wanted;
            }
        }
        inputs
    }

    fn step(&mut self, input: &[f32], wanted: &[f32], rate: f32) {
        for (row, wanted) in self.weights.chunks_exact_mut(self.inputs + 1).zip(wanted) {
            let step = wanted * rate;
            for (weight, input) in row.iter_mut().zip(input) {
                *weight += step * input;
            }
            row[self.inputs] += step;
        }
    }
}

impl Layers {
    pub(crate) fn train(
        digits: &[&'static Digit],
        settings: &Network,
        random: &mut Random,
    ) -> Self {
        let width = settings.hidden as usize;
        let mut network = Self {
            hidden: (width > 0).then(|| Layer::random(PIXELS, width, random)),
            output: Layer::random(if width > 0 { width } else { PIXELS }, 10, random),
        };
        let mut order: Vec<(Vec<f32>, u8)> = digits
            .iter()
            .map(|digit| (brightness(digit), digit.label))
            .collect();
        for _ in 0..settings.epochs {
            random.shuffle(&mut order);
            for (input, label) in &order {
                network.learn(input, *label, settings.rate);
            }
        }
        network
    }

    /// One step of the descent on the cross-entropy of the softmax.
    fn learn(&mut self, input: &[f32], label: u8, rate: f32) {
        let hidden = self.hidden.as_ref().map(|layer| relu(layer.forward(input)));
        let mut wanted = softmax(self.output.forward(hidden.as_deref().unwrap_or(input)));
        wanted.iter_mut().for_each(|share| *share = -*share);
        wanted[usize::from(label)] += 1.0;
        if let (Some(layer), Some(values)) = (&mut self.hidden, &hidden) {
            let mut inner = self.output.backward(&wanted);
            for (inner, value) in inner.iter_mut().zip(values) {
                if *value <= 0.0 {
                    *inner = 0.0;
                }
            }
            layer.step(input, &inner, rate);
        }
        self.output
            .step(hidden.as_deref().unwrap_or(input), &wanted, rate);
    }
}

impl Reader for Layers {
    fn read(&self, digit: &Digit) -> u8 {
        let input = brightness(digit);
        let hidden = self
            .hidden
            .as_ref()
            .map(|layer| relu(layer.forward(&input)));
        let output = self.output.forward(hidden.as_deref().unwrap_or(&input));
        let mut votes = [0.0; 10];
        votes.copy_from_slice(&output);
        best(&votes)
    }
}

fn brightness(digit: &Digit) -> Vec<f32> {
    digit
        .pixels
        .iter()
        .map(|&pixel| f32::from(pixel) / f32::from(BRIGHTEST))
        .collect()
}

/// In eight sums, so that the compiler may use wide registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a
        .remainder()
        .iter()
        .zip(b.remainder())
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in a.zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

fn relu(mut values: Vec<f32>) -> Vec<f32> {
    values.iter_mut().for_each(|value| *value = value.max(0.0));
    values
}

fn softmax(mut values: Vec<f32>) -> Vec<f32> {
    let highest = values.iter().copied().fold(f32::MIN, f32::max);
    values
        .iter_mut()
        .for_each(|value| *value = (*value - highest).exp());
    let sum: f32 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= sum);
    values
}
