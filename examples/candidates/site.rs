//! A call site: one line of the user's code, and everything allocated on its behalf.

use crate::frame::{Frame, Yours};
use crate::profile::{Point, Profile};
use std::collections::BTreeMap;

/// What the site allocates, as far as the frames between the line and the allocator show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// `BytesMut`, or a `Vec<u8>`.
    Bytes,
    /// A `Vec` of unknown type.
    Vector,
    /// Something inside another library.
    Inside,
    Other,
}

/// What a profile shows about one line.
#[derive(Debug)]
pub(crate) struct Site<'p> {
    /// The line; if there is none, the outermost frame of the library that allocated.
    pub(crate) at: Frame<'p>,
    /// Whether the line is in the user's code.
    pub(crate) yours: bool,
    /// The library function that the line calls.
    pub(crate) calls: Option<Frame<'p>>,
    /// The line of the user's code that called it most often.
    pub(crate) caller: Option<Frame<'p>>,
    pub(crate) made: Made,
    /// Whether its objects grow by reallocation.
    pub(crate) grows: bool,
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    /// Mean sizes of the program points: the smallest and the largest.
    pub(crate) smallest: u64,
    pub(crate) largest: u64,
    /// Whether the profile proves that all blocks have one size.
    pub(crate) one_size: bool,
    /// Mean lifetime, in the profile's unit.
    pub(crate) lifetime: Option<f64>,
    /// The most blocks alive at the same time; `None` if the profiler did not record it.
    pub(crate) at_once: Option<u64>,
    /// Blocks alive at the end.
    pub(crate) left: u64,
    /// Bytes read and written per byte allocated.
    pub(crate) touched: Option<f64>,
    /// The sizes of what one visit of the line allocates, on its busiest path.
    pub(crate) visit: Vec<u64>,
}

/// The parsed frames of one point.
struct Stack<'p> {
    at: Frame<'p>,
    yours: bool,
    calls: Option<Frame<'p>>,
    caller: Option<Frame<'p>>,
    /// The frames from the allocator to the line, and those from the line outwards.
    inner: Vec<Frame<'p>>,
    outer: &'p [usize],
}

/// Returns all call sites, in no particular order.
pub(crate) fn all<'p>(profile: &'p Profile, skip: &[String]) -> Vec<Site<'p>> {
    let yours = Yours::new(skip, profile.frames.iter());
    let mut groups: BTreeMap<(&str, &str), Vec<(&'p Point, Stack<'p>)>> = BTreeMap::new();
    for point in profile.points.iter().filter(|point| point.blocks > 0) {
        let stack = Stack::of(profile, point, &yours);
        let key = match stack.at.place {
            "" => ("", stack.at.name),
            _ => (stack.at.line(), ""),
        };
        groups.entry(key).or_default().push((point, stack));
    }
    groups.into_values().map(Site::of).collect()
}

impl<'p> Stack<'p> {
    fn of(profile: &'p Profile, point: &'p Point, yours: &Yours<'_>) -> Self {
        let frames: Vec<_> = point
            .frames
            .iter()
            .map(|&frame| Frame::parse(&profile.frames[frame]))
            .collect();
        // A user's own global allocator is in the user's code, but is not a call site.
        let inside = frames
            .iter()
            .rposition(Frame::is_allocator)
            .map_or(0, |at| at + 1);
        let mut sites = (inside..frames.len()).filter(|&at| yours.is(&frames[at]));
        match sites.next() {
            Some(at) => Self {
                at: frames[at].clone(),
                yours: true,
                calls: (at > inside).then(|| frames[at - 1].clone()),
                caller: sites
                    .map(|caller| frames[caller].clone())
                    .find(|caller| caller.line() != frames[at].line()),
                inner: frames[inside..at].to_vec(),
                outer: &point.frames[at..],
            },
            // The whole stack is in libraries: the site is their outermost frame.
            None => Self {
                at: frames
                    .iter()
                    .rfind(|frame| frame.dependency().is_some())
                    .or(frames.get(inside))
                    .or(frames.last())
                    .cloned()
                    .unwrap_or(Frame {
                        name: "[no stack]",
                        place: "",
                    }),
                yours: false,
                calls: None,
                caller: None,
                inner: Vec::new(),
                outer: &[],
            },
        }
    }

    fn made(&self) -> Made {
        let of_bytes = |frame: &Frame<'_>| {
            frame
                .dependency()
                .is_some_and(|name| name.starts_with("bytes-"))
        };
        let of_vec = |frame: &Frame<'_>| {
            frame.place.contains("vec/mod.rs") || frame.place.contains("raw_vec")
        };
        let of_u8 = |frame: &Frame<'_>| {
            of_vec(frame) && (frame.name.contains("<u8") || frame.name.contains("Vec<u8"))
        };
        // Names from the symbol table have no type parameters.
        let of_known = |frame: &Frame<'_>| {
            let lost = ["<T>", "<T,A>", "<T, A>", "<_>", "<_, _>"];
            let name = lost
                .iter()
                .fold(frame.name.to_owned(), |name, lost| name.replace(lost, ""));
            frame.place.contains("src/vec/mod.rs") && name.contains('<')
        };
        let library = self
            .inner
            .iter()
            .filter(|frame| !of_bytes(frame))
            .find_map(|frame| frame.dependency())
            .filter(|name| !name.starts_with("hashbrown-"));
        match library {
            Some(_) => Made::Inside,
            None => {
                let any = |what: &dyn Fn(&Frame<'_>) -> bool| self.inner.iter().any(what);
                if any(&|frame| of_bytes(frame) || of_u8(frame)) {
                    Made::Bytes
                } else if any(&of_vec) && !any(&of_known) {
                    Made::Vector
                } else {
                    Made::Other
                }
            }
        }
    }

    fn grows(&self) -> bool {
        self.inner.iter().any(|frame| {
            [
                "finish_grow",
                "grow_amortized",
                "grow_one",
                "reserve_rehash",
            ]
            .iter()
            .any(|name| frame.name.contains(name))
        })
    }
}

impl<'p> Site<'p> {
    fn of(points: Vec<(&'p Point, Stack<'p>)>) -> Self {
        let sum = |of: fn(&Point) -> u64| points.iter().map(|(point, _)| of(point)).sum::<u64>();
        // Known only if it is known for every point.
        let known = |of: fn(&Point) -> Option<u64>| -> Option<u64> {
            points.iter().map(|(point, _)| of(point)).sum()
        };
        let (blocks, bytes) = (sum(|point| point.blocks), sum(|point| point.bytes));
        let means = || points.iter().map(|(point, _)| point.bytes / point.blocks);
        let (smallest, largest) = (means().min().unwrap_or(0), means().max().unwrap_or(0));
        let same = |(point, _): &(&Point, Stack<'_>)| {
            point.accesses.is_some()
                || point.bytes % point.blocks == 0
                    && match (point.most_bytes, point.most_blocks) {
                        (Some(bytes), Some(blocks)) if blocks > 0 => {
                            bytes == blocks * (point.bytes / point.blocks)
                        }
                        _ => false,
                    }
        };
        let one_size = smallest == largest && points.iter().all(same);
        let busiest = points
            .iter()
            .max_by_key(|(point, _)| point.blocks)
            .map(|(_, stack)| stack);
        let touched = known(|point| Some(point.read? + point.written?));
        Self {
            at: busiest.map_or_else(|| Frame::parse(""), |stack| stack.at.clone()),
            yours: busiest.is_some_and(|stack| stack.yours),
            calls: busiest.and_then(|stack| stack.calls.clone()),
            caller: busiest.and_then(|stack| stack.caller.clone()),
            made: busiest.map_or(Made::Other, Stack::made),
            grows: busiest.is_some_and(Stack::grows),
            blocks,
            bytes,
            smallest,
            largest,
            one_size,
            lifetime: known(|point| point.lifetimes).map(|sum| sum as f64 / blocks as f64),
            at_once: at_once(&points),
            left: known(|point| point.end_blocks).unwrap_or(0),
            touched: touched.map(|touched| touched as f64 / bytes.max(1) as f64),
            visit: visit(&points),
        }
    }

    pub(crate) fn mean_bytes(&self) -> u64 {
        self.bytes / self.blocks.max(1)
    }
}

/// Points with the same callers and similar numbers of blocks belong to the same visits: a
/// constructor that allocates four tables has four points with equal counts.
fn visit(points: &[(&Point, Stack<'_>)]) -> Vec<u64> {
    let mut paths: BTreeMap<&[usize], Vec<&Point>> = BTreeMap::new();
    for (point, stack) in points {
        paths.entry(stack.outer).or_default().push(point);
    }
    let blocks = |path: &Vec<&Point>| path.iter().map(|point| point.blocks).sum::<u64>();
    let busiest = paths.into_values().max_by_key(blocks).unwrap_or_default();
    let visits = busiest.iter().map(|point| point.blocks).max().unwrap_or(1);
    busiest
        .into_iter()
        .filter(|point| 2 * point.blocks >= visits)
        .map(|point| point.bytes / point.blocks)
        .collect()
}

/// Estimates the most blocks alive at the same time. A profile has that for each point, but points
/// may peak at different times. This adds up calls from different places, and takes the largest for
/// calls from one place on different threads or in different outer loops. So the result is neither
/// a lower nor an upper bound, but right for most programs.
fn at_once(points: &[(&Point, Stack<'_>)]) -> Option<u64> {
    let mut places: BTreeMap<_, u64> = BTreeMap::new();
    for (point, stack) in points {
        // valgrind reports zero for blocks that were never part of a peak.
        let most = point.most_blocks.filter(|&most| most > 0)?;
        let caller = stack.caller.as_ref().map(|caller| caller.place);
        let place = places.entry((stack.at.place, caller)).or_default();
        *place = most.max(*place);
    }
    Some(places.into_values().sum())
}
