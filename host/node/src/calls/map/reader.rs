//! Takes inputs from the client and puts them in line.

use super::board::Refused;
use super::{Map, worker};
use crate::budget::Held;
use crate::error::Error;
use futures::{Stream, StreamExt};
use lydian_api::v1::{MapInputs, MapRequest, map_request::Part};
use std::sync::Arc;
use tonic::Status;

pub(super) async fn read<I>(map: Arc<Map>, mut inputs: I, room: Held)
where
    I: Stream<Item = Result<MapRequest, Status>> + Send + Unpin,
{
    let end = loop {
        match inputs.next().await {
            None => break Ok(()),
            Some(Err(status)) => break Err(status),
            Some(Ok(MapRequest {
                part: Some(Part::Inputs(inputs)),
            })) => {
                if let Err(error) = receive(&map, inputs, &room) {
                    break Err(error.into());
                }
                worker::hire(&map);
            }
            Some(Ok(_)) => {
                break Err(Error::invalid("part", "is not `inputs`: a map is opened once").into());
            }
        }
    };
    match end {
        Ok(()) => map.board.all_read(),
        Err(status) => map.fail(status),
    }
    map.news.notify_one();
}

fn receive(map: &Map, inputs: MapInputs, room: &Held) -> Result<(), Error> {
    // The room the message took is the inputs' from here on. Until there is some, nothing more is read.
    map.board
        .receive(inputs, room.take())
        .map_err(|refused| match refused {
            Refused::Index { expected, found } => Error::invalid(
                "inputs.first_index",
                format!("is {found}, but input {expected} comes next"),
            ),
            Refused::Credit => Error::invalid("inputs", "exceed the credit that was granted"),
        })
}
