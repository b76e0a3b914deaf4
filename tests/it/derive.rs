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
    // Shapes that a hand-written macro trips over.
    let mut positional = Positional(vec![1], Some("x".to_owned()));
    positional.recycle();
    assert_eq!((positional.0.len(), positional.1.as_deref()), (0, Some("")));
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
