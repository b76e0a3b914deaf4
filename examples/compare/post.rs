//! Objects that cross threads: each worker sends to the next one and takes from the one before, in
//! a ring.
//!
//! In one request a worker makes a message, sends it on, and serves one that came. So each thread
//! gets as many objects as it drops, and never its own. When the next worker is [`ROOM`] behind, the
//! worker serves its own message instead of waiting; [`Desk::crossed`] says how often it did not
//! have to.
//!
//! Nobody waits for ever: a worker waits for a message only after it has sent one, so around the
//! ring not all can wait, and one whose predecessor has ended its phase takes what is left.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Messages that may wait for one worker.
const ROOM: usize = 8;
/// How long a worker sleeps before it looks whether its predecessor has ended.
const PATIENCE: Duration = Duration::from_micros(200);

/// Who has ended which phase. Release on the store, Acquire on the load: a message that was sent
/// before the end is found after it.
pub(crate) struct Ring {
    ended: Vec<AtomicUsize>,
}

/// One worker's place in the ring.
pub(crate) struct Desk<T> {
    number: usize,
    next: SyncSender<T>,
    inbox: Receiver<T>,
    /// Messages served that another worker made, and all.
    crossed: u64,
    served: u64,
}

/// What a worker has to do.
pub(crate) enum Turn<T> {
    Serve(T),
    /// The one before has ended, and all of its messages are served.
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
            crossed: 0,
            served: 0,
        })
        .collect();
    let ended = (0..workers).map(|_| AtomicUsize::new(0)).collect();
    (Ring { ended }, desks)
}

impl Ring {
    /// Worker `number` sends no more in this phase.
    pub(crate) fn end(&self, number: usize, phase: usize) {
        self.ended[number].store(phase, Ordering::Release);
    }

    fn has_ended(&self, number: usize, phase: usize) -> bool {
        self.ended[number].load(Ordering::Acquire) >= phase
    }
}

impl<T> Desk<T> {
    /// Sends a message on, and says which one to serve instead.
    pub(crate) fn exchange(&mut self, ring: &Ring, phase: usize, message: T) -> Turn<T> {
        match self.next.try_send(message) {
            Ok(()) => {}
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                self.served += 1;
                return Turn::Serve(message);
            }
        }
        let workers = ring.ended.len();
        let before = (self.number + workers - 1) % workers;
        loop {
            // Before the look into the inbox: what is there then is all that will be.
            let ended = ring.has_ended(before, phase);
            match self.inbox.recv_timeout(PATIENCE) {
                Ok(message) => {
                    self.served += 1;
                    self.crossed += u64::from(workers > 1);
                    return Turn::Serve(message);
                }
                Err(RecvTimeoutError::Timeout) if !ended => {}
                Err(_) => return Turn::Nothing,
            }
        }
    }

    /// Drops what nobody has served, so that it does not count as memory in use.
    pub(crate) fn clear(&mut self) {
        while self.inbox.try_recv().is_ok() {}
    }

    /// Forgets the warm-up.
    pub(crate) fn reset(&mut self) {
        self.crossed = 0;
        self.served = 0;
    }

    /// Messages served that another worker made, and all messages served.
    pub(crate) fn crossed(&self) -> (u64, u64) {
        (self.crossed, self.served)
    }
}
