//! Objects that cross threads: the workers form a ring, and each sends to the next and receives
//! from the previous one.
//!
//! For one request, a worker makes a message, sends it on, and serves one that arrived. If the next
//! worker is [`ROOM`] behind, the message waits, and the worker makes no other until it has gone.
//! So while there are two workers, each serves only what another one made; [`Desk::crossed`] counts
//! that.
//!
//! No worker waits for ever. A worker waits only with an empty inbox, after it has sent its message
//! or while the next worker's inbox is full; the next worker does not wait then. If all workers had
//! sent and all inboxes were empty, each would have begun its request after it took the message
//! that the previous worker sent during its own request. Around the ring, each would have begun
//! before itself.
//! the ring, each had begun before itself.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Messages that may wait for one worker.
const ROOM: usize = 8;
/// How long a worker sleeps before it checks whether its predecessor has ended.
const PATIENCE: Duration = Duration::from_micros(200);

/// Which workers have ended which phase. Release on the store, Acquire on the load: a message that
/// was sent before the end is found after it.
pub(crate) struct Ring {
    ended: Vec<AtomicUsize>,
}

/// One worker's place in the ring.
pub(crate) struct Desk<T> {
    number: usize,
    next: SyncSender<T>,
    inbox: Receiver<T>,
    /// A message for which there was no room.
    waiting: Option<T>,
    /// Messages served that another worker made, and all messages served.
    crossed: u64,
    served: u64,
}

/// What a worker has to do.
pub(crate) enum Turn<T> {
    Serve(T),
    /// The previous worker has ended, and all of its messages are served.
    Nothing,
}

pub(crate) fn ring<T>(workers: usize) -> (Ring, Vec<Desk<T>>) {
    let (senders, inboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| sync_channel(ROOM)).unzip();
    let desks = inboxes
        .into_iter()
        .enumerate()
        .map(|(number, inbox)| Desk {
            number,
            next: senders[(number + 1) % workers].clone(),
            inbox,
            waiting: None,
            crossed: 0,
            served: 0,
        })
        .collect();
    let ended = (0..workers).map(|_| AtomicUsize::new(0)).collect();
    (Ring { ended }, desks)
}

impl Ring {
    /// Called when worker `number` sends no more in this phase.
    pub(crate) fn end(&self, number: usize, phase: usize) {
        self.ended[number].store(phase, Ordering::Release);
    }

    fn has_ended(&self, number: usize, phase: usize) -> bool {
        self.ended[number].load(Ordering::Acquire) >= phase
    }
}

impl<T> Desk<T> {
    /// Sends a message on, and returns the one to serve. Makes a message only if none is waiting.
    pub(crate) fn exchange(
        &mut self,
        ring: &Ring,
        phase: usize,
        make: impl FnOnce() -> T,
    ) -> Turn<T> {
        let workers = ring.ended.len();
        let before = (self.number + workers - 1) % workers;
        let after = (self.number + 1) % workers;
        let mut waiting = Some(self.waiting.take().unwrap_or_else(make));
        loop {
            if let Some(message) = waiting.take() {
                match self.next.try_send(message) {
                    Ok(()) => {}
                    Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                        waiting = Some(message);
                    }
                }
            }
            // Checked before the inbox: what is there then is all that will come.
            let no_more_come = ring.has_ended(before, phase);
            let stays = ring.has_ended(after, phase);
            match self.inbox.recv_timeout(PATIENCE) {
                Ok(message) => {
                    self.waiting = waiting;
                    self.served += 1;
                    self.crossed += u64::from(workers > 1);
                    return Turn::Serve(message);
                }
                Err(RecvTimeoutError::Timeout) if !no_more_come && !stays => {}
                Err(_) => match waiting.take() {
                    // No worker will take it.
                    Some(message) if stays => {
                        self.served += 1;
                        return Turn::Serve(message);
                    }
                    Some(message) => waiting = Some(message),
                    None if no_more_come => return Turn::Nothing,
                    None => {}
                },
            }
        }
    }

    /// Drops what no worker has served, so that it does not count as memory in use.
    pub(crate) fn clear(&mut self) {
        self.waiting = None;
        while self.inbox.try_recv().is_ok() {}
    }

    /// Forgets the warm-up.
    pub(crate) fn reset(&mut self) {
        self.crossed = 0;
        self.served = 0;
    }

    /// Returns the messages served that another worker made, and all messages served.
    pub(crate) fn crossed(&self) -> (u64, u64) {
        (self.crossed, self.served)
    }
}
