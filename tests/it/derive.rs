//! `#[derive(Recycle)]`.

use super::support::manual;
use repool::{Pool, Recycle};

#[derive(Default, Recycle)]
struct Named {
    names: Vec<String>,
    line: String,
}

#[derive(Default, Recycle)]
struct Positional(Vec<u8>, Option<String>);

#[derive(Default, Recycle)]
struct Unit;

#[derive(Default, Recycle)]
struct Generic<T, const N: usize>
where
    T: Default,
{
    first: Vec<T>,
    rest: Vec<[T; N]>,
}

#[test]
fn a_derived_recycle_resets_every_field_and_adds_their_bytes_up() {
    // A field left out, in either method.
    static POOL: Pool<Named> = Pool::new(Named::default);
    let mut named = POOL.get();
    named.names.push("x".to_owned());
    named.line.push('x');
    drop(named);
    let named = POOL.get();
    assert!(named.names.is_empty() && named.line.is_empty());
    assert!(named.names.capacity() > 0 && named.line.capacity() > 0);
    let bytes = named.names.retained_bytes() + named.line.retained_bytes();
    assert_eq!(named.retained_bytes(), bytes);
}

#[test]
fn it_derives_for_tuple_unit_and_generic_structs() {
    // Shapes that break a hand-written macro.
    let mut positional = Positional(vec![1], Some("x".to_owned()));
    positional.recycle();
    assert_eq!((positional.0.len(), positional.1.as_deref()), (0, None));
    Unit.recycle();
    assert_eq!(Unit.retained_bytes(), 0);
    let pool = manual(Generic::<u16, 3>::default).build();
    let mut generic = pool.get();
    generic.first.push(1);
    generic.rest.push([1; 3]);
    drop(generic);
    assert!(pool.get().first.is_empty() && pool.get().rest.is_empty());
    assert!(pool.stats().idle_bytes >= 8);
}

#[derive(Default, Recycle)]
struct Session {
    user: Option<String>,
    age: Option<u8>,
    #[recycle(keep)]
    body: Option<Vec<u8>>,
    #[recycle(keep)]
    rows: Vec<Vec<u8>>,
    #[recycle(keep)]
    boxed: Box<[Vec<u8>; 2]>,
}

#[test]
fn clean_means_like_new() {
    // A derived reset left `Some("")`, so that the next request found a user that is there but
    // empty.
    let pool = manual(Session::default).build();
    let mut session = pool.get();
    session.user = Some("ada".to_owned());
    session.age = Some(36);
    drop(session);
    let session = pool.get();
    assert_eq!((session.user.as_deref(), session.age), (None, None));
    assert_eq!(pool.stats().created, 1);
}

#[test]
fn keep_keeps_what_is_inside_and_recycles_it() {
    let mut session = Session {
        body: Some(vec![1; 100]),
        rows: vec![vec![1; 10], vec![2; 20]],
        boxed: Box::new([Vec::new(), vec![3; 30]]),
        ..Session::default()
    };
    let at = session.rows[1].as_ptr();
    session.recycle();
    // The trap described in the docs: the value is there, and empty.
    assert_eq!(session.body.as_deref(), Some(&[][..]));
    assert_eq!(session.rows, [[], []] as [[u8; 0]; 2]);
    assert_eq!(session.rows[1].as_ptr(), at);
    let vector = size_of::<Vec<u8>>();
    let expected = 100 + 2 * vector + 10 + 20 + 2 * vector + 30;
    assert_eq!(session.retained_bytes(), expected);
    session.body = None;
    session.recycle();
    assert_eq!((session.body.is_none(), session.rows.len()), (true, 2));
}

/// A type of another crate, as far as the derive can tell.
struct Foreign(Vec<u8>);

impl Foreign {
    fn restart(&mut self) {
        self.0.clear();
    }

    fn memory(&self) -> usize {
        self.0.capacity()
    }
}

#[derive(Recycle)]
struct Attributed<T, F> {
    #[recycle(skip)]
    id: u64,
    #[recycle(with = Foreign::restart, bytes = Foreign::memory)]
    encoder: Foreign,
    #[recycle(with = empty::<F>)]
    slot: Slot<F>,
    #[recycle(skip, bytes = Foreign::memory)]
    table: Foreign,
    value: T,
}

struct Slot<F>(Option<F>);

fn empty<F>(slot: &mut Slot<F>) {
    slot.0 = None;
}

#[test]
fn skip_and_with_need_no_recycle() {
    let mut attributed = Attributed {
        id: 7,
        encoder: Foreign(vec![1; 100]),
        slot: Slot(Some(std::rc::Rc::new(1))),
        table: Foreign(vec![2; 50]),
        value: String::from("x"),
    };
    attributed.recycle();
    assert_eq!((attributed.id, attributed.encoder.0.len()), (7, 0));
    assert!(attributed.slot.0.is_none() && attributed.value.is_empty());
    assert_eq!(attributed.table.0, [2; 50]);
    assert_eq!(
        attributed.retained_bytes(),
        100 + 50 + attributed.value.capacity()
    );
}

#[derive(Default, Recycle)]
struct Tree<T> {
    value: T,
    children: Vec<Tree<T>>,
}

#[derive(Recycle)]
struct Borrowing<'a, T: ?Sized + 'a, const N: usize>
where
    T: ToString,
{
    names: Vec<&'a T>,
    counts: [u32; N],
}

mod elsewhere {
    pub(super) use repool as pools;
}

#[derive(Default, Recycle)]
#[recycle(crate = elsewhere::pools)]
struct Renamed(Vec<u8>);

#[test]
fn it_derives_for_recursive_and_borrowing_and_renamed() {
    // Infinite bounds, lifetimes, a crate under another name.
    let mut tree = Tree {
        value: String::from("root"),
        children: vec![Tree::default()],
    };
    tree.recycle();
    assert!(tree.value.is_empty() && tree.children.is_empty());
    let mut borrowing = Borrowing {
        names: vec!["a"],
        counts: [1; 3],
    };
    borrowing.recycle();
    assert!(borrowing.names.is_empty());
    assert_eq!(borrowing.counts, [0; 3]);
    let mut renamed = Renamed(vec![1]);
    renamed.recycle();
    assert_eq!(renamed.0.len(), 0);
}

#[test]
fn a_derived_type_knows_what_of_it_is_used() {
    let mut session = Session {
        body: Some(Vec::with_capacity(1_000)),
        ..Session::default()
    };
    let unused = session.used_bytes();
    session.body = Some(vec![1; 1_000]);
    assert_eq!(session.used_bytes(), unused + 1_000);
    // The use of one field is unknown, so that of the whole is unknown too.
    let attributed = Attributed::<u8, u8> {
        id: 0,
        encoder: Foreign(Vec::new()),
        slot: Slot(None),
        table: Foreign(Vec::new()),
        value: 0,
    };
    assert_eq!(attributed.used_bytes(), usize::MAX);
}
