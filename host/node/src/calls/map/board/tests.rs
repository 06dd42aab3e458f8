//! The rules of a map: order, windows, stopping.

use super::*;
use lydian_engine::FailureKind;

fn board(ordered: bool, return_errors: bool) -> Board {
    with_workers(ordered, return_errors, (8, 8))
}

fn with_workers(ordered: bool, return_errors: bool, workers: (usize, usize)) -> Board {
    let board = Board::new(Rules {
        ordered,
        return_errors,
        window_inputs: 8,
        window_bytes: 1_000,
        workers,
    });
    assert!(matches!(
        board.next(),
        Next::Credit(MapCredit {
            inputs: 8,
            bytes: 1_000
        })
    ));
    board
}

fn receive(board: &Board, first_index: u64, count: usize) -> Result<(), Refused> {
    let args = vec![Bytes::from_static(b"0123456789"); count];
    board.receive(MapInputs { first_index, args }, Charge::FREE)
}

fn take(board: &Board) -> Input {
    board.hire();
    board.exchange(None).unwrap()
}

fn finish(board: &Board, input: Input, result: Result<&'static [u8], FailureKind>) {
    let result = result
        .map(Bytes::from_static)
        .map_err(|kind| Failure::new(kind, "x"));
    let outcome = Outcome {
        result,
        usage: Usage::default(),
    };
    // The worker takes no further input here.
    if let Some(next) = board.exchange(Some((input, outcome))) {
        board.give_back(next);
    }
}

fn indices(next: Next) -> Vec<u64> {
    match next {
        Next::Results(results) => results.iter().map(|result| result.index).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn ordered_results_wait_for_those_before_them() {
    let board = board(true, true);
    receive(&board, 0, 3).unwrap();
    let (a, b, c) = (take(&board), take(&board), take(&board));
    finish(&board, c, Ok(b"c"));
    finish(&board, b, Ok(b"b"));
    assert!(matches!(board.next(), Next::Wait));
    finish(&board, a, Ok(b"a"));
    assert_eq!(indices(board.next()), [0, 1, 2]);
}

#[test]
fn unordered_results_come_as_they_finish() {
    let board = board(false, true);
    receive(&board, 0, 2).unwrap();
    let (a, b) = (take(&board), take(&board));
    finish(&board, b, Ok(b"b"));
    assert_eq!(indices(board.next()), [1]);
    finish(&board, a, Ok(b"a"));
    assert_eq!(indices(board.next()), [0]);
    board.all_read();
    assert!(matches!(
        board.next(),
        Next::Done(MapDone {
            succeeded: 2,
            failed: 0,
            ..
        })
    ));
}

/// A client that ignores its credit, or numbers inputs otherwise, is told so and cannot fill the node.
#[test]
fn inputs_beyond_the_credit_are_refused() {
    let board = board(false, true);
    assert_eq!(
        receive(&board, 1, 1),
        Err(Refused::Index {
            expected: 0,
            found: 1
        })
    );
    receive(&board, 0, 8).unwrap();
    assert_eq!(receive(&board, 8, 1), Err(Refused::Credit));
}

/// One input may be larger than the window, or it could never be sent; no more than one.
#[test]
fn bytes_beyond_the_credit_are_refused() {
    let board = board(false, true);
    let inputs = |first_index| MapInputs {
        first_index,
        args: vec![Bytes::from(vec![0; 5_000])],
    };
    assert_eq!(board.receive(inputs(0), Charge::FREE), Ok(()));
    assert_eq!(board.receive(inputs(1), Charge::FREE), Err(Refused::Credit));
}

/// Memory is flat because granting waits for answering.
#[test]
fn credit_follows_results_that_were_sent() {
    let board = board(false, true);
    receive(&board, 0, 8).unwrap();
    for _ in 0..2 {
        let input = take(&board);
        finish(&board, input, Ok(b""));
    }
    assert_eq!(indices(board.next()), [0, 1]);
    assert!(matches!(
        board.next(),
        Next::Credit(MapCredit {
            inputs: 2,
            bytes: 20
        })
    ));
    assert!(matches!(board.next(), Next::Wait));
}

#[test]
fn the_first_failure_in_order_ends_the_map() {
    let board = board(true, false);
    receive(&board, 0, 4).unwrap();
    let (a, b, c) = (take(&board), take(&board), take(&board));
    finish(&board, c, Ok(b"c"));
    finish(&board, b, Err(FailureKind::Trap));
    // The fourth is not run any more; the first still answers.
    assert_eq!(board.hire(), 0);
    finish(&board, a, Ok(b"a"));
    assert_eq!(indices(board.next()), [0, 1]);
    assert!(matches!(
        board.next(),
        Next::Done(MapDone {
            succeeded: 2,
            failed: 1,
            ..
        })
    ));
}

#[test]
fn returned_errors_end_nothing() {
    let board = board(true, true);
    receive(&board, 0, 2).unwrap();
    let (a, b) = (take(&board), take(&board));
    finish(&board, a, Err(FailureKind::Trap));
    finish(&board, b, Ok(b"b"));
    assert_eq!(indices(board.next()), [0, 1]);
    board.all_read();
    assert!(matches!(
        board.next(),
        Next::Done(MapDone {
            succeeded: 1,
            failed: 1,
            ..
        })
    ));
}

#[test]
fn the_empty_map_is_done_at_once() {
    let board = board(true, false);
    board.all_read();
    assert!(matches!(
        board.next(),
        Next::Done(MapDone {
            succeeded: 0,
            failed: 0,
            ..
        })
    ));
}

/// A cancelled map says so even when errors are returned and nothing runs.
#[test]
fn a_cut_map_ends_with_its_reason() {
    let board = board(true, true);
    receive(&board, 0, 2).unwrap();
    let a = take(&board);
    board.cut(Failure::new(FailureKind::Cancelled, "cancelled"));
    assert!(matches!(board.next(), Next::Wait));
    finish(&board, a, Err(FailureKind::Cancelled));
    assert_eq!(indices(board.next()), [0]);
    assert_eq!(indices(board.next()), [1]);
    assert!(matches!(
        board.next(),
        Next::Done(MapDone { failed: 2, .. })
    ));
}

/// A client that does not read holds its own map back, nobody's memory.
#[test]
fn unread_results_stop_the_workers() {
    let board = board(false, true);
    receive(&board, 0, 3).unwrap();
    let a = take(&board);
    let outcome = Outcome {
        result: Ok(vec![0; RESULT_BYTES as usize + 1].into()),
        usage: Usage::default(),
    };
    assert!(board.exchange(Some((a, outcome))).is_none());
    assert_eq!(board.hire(), 0);
    assert_eq!(indices(board.next()), [0]);
    assert!(board.has_work());
}

/// Guests that wait get company; guests that finish quickly do not need it.
#[test]
fn workers_double_only_while_few_inputs_finish() {
    let board = with_workers(false, true, (2, 4));
    receive(&board, 0, 8).unwrap();
    assert_eq!(board.hire(), 2);
    let (a, b) = (board.exchange(None).unwrap(), board.exchange(None).unwrap());
    assert!(board.grow());
    assert_eq!(board.hire(), 2);
    for input in [a, b] {
        finish(&board, input, Ok(b""));
    }
    assert!(board.grow());
    assert_eq!(board.state.lock().target, 4);
}
