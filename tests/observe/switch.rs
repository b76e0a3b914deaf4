//! `REPOOL` in the environment, which is read once per process: each case is a child of this binary.

use repool::Pool;
use std::process::{Command, Output};

/// The child uses pools of each kind, and prints which of them kept something.
#[test]
#[ignore = "run by the others, as a child"]
fn switched_child() {
    static CONST: Pool<String> = Pool::named("const", String::new);
    static UNNAMED: Pool<String> = Pool::new(String::new);
    let built = Pool::builder(String::new)
        .name("built")
        .trim_manually()
        .build();
    let before = [built.is_enabled(), CONST.is_enabled(), UNNAMED.is_enabled()];
    let mut said = String::new();
    for (name, pool, before) in [
        ("built", &built, before[0]),
        ("const", &CONST, before[1]),
        ("unnamed", &UNNAMED, before[2]),
    ] {
        drop(pool.get());
        let on = pool.stats().idle == 1;
        assert_eq!((pool.is_enabled(), before), (on, on));
        assert_eq!(pool.stats().discarded_by.switched_off, u64::from(!on));
        said += &format!(" {name}={on}");
        pool.set_enabled(true);
        drop(pool.get());
        assert_eq!(pool.stats().idle, 1, "a call decides");
    }
    #[cfg(feature = "bumpalo")]
    {
        static ARENAS: repool::ArenaPool = repool::ArenaPool::named("arenas");
        let built = repool::ArenaPool::builder().name("arenas").build();
        let before = ARENAS.is_enabled();
        for arenas in [&ARENAS, &built] {
            drop((arenas.get(), arenas.get()));
            let stats = arenas.stats();
            let idle = if before { 2 } else { 0 };
            assert_eq!((arenas.is_enabled(), stats.idle), (before, idle));
            assert_eq!(stats.discarded_by.switched_off, 2 - idle);
        }
        said += &format!(" arenas={before}");
        let listed = repool::pools();
        let arenas = listed.iter().filter(|pool| pool.name == "arenas");
        assert!(arenas.clone().all(|pool| pool.enabled == before));
        assert_eq!(arenas.count(), 2);
    }
    #[cfg(feature = "bytes")]
    {
        static BUFFERS: repool::BufferPool = repool::BufferPool::named("buffers");
        let built = repool::BufferPool::builder().name("buffers").build();
        let before = BUFFERS.is_enabled();
        for buffers in [&BUFFERS, &built] {
            drop((buffers.get(100), buffers.get(1000)));
            let stats = buffers.stats();
            let idle = if before { 2 } else { 0 };
            assert_eq!((buffers.is_enabled(), stats.idle), (before, idle));
            assert_eq!(stats.discarded_by.switched_off, 2 - idle);
            buffers.set_enabled(true);
            drop(buffers.get(5000));
            assert_eq!(buffers.stats().idle, idle + 1, "a call decides");
        }
        said += &format!(" buffers={before}");
    }
    println!("kept{said}.");
}

fn run(value: Option<&str>) -> (String, Vec<String>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "switch::switched_child",
        "--exact",
        "--ignored",
        "--nocapture",
    ]);
    command.env_remove("REPOOL");
    if let Some(value) = value {
        command.env("REPOOL", value);
    }
    let output: Output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let kept = words
        .split("kept ")
        .nth(1)
        .and_then(|rest| rest.split('.').next());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours = errors.lines().filter(|line| line.contains("repool:"));
    (
        kept.expect("the child's line").to_owned(),
        ours.map(String::from).collect(),
    )
}

/// The pools that are to be on, without those of missing features.
fn kept(on: [(&str, bool); 5]) -> String {
    let there = on.iter().filter(|(name, _)| match *name {
        "arenas" => cfg!(feature = "bumpalo"),
        "buffers" => cfg!(feature = "bytes"),
        _ => true,
    });
    let words: Vec<_> = there.map(|(name, on)| format!("{name}={on}")).collect();
    words.join(" ")
}

fn pools(built: bool, constant: bool, unnamed: bool, parts: bool) -> String {
    kept([
        ("built", built),
        ("const", constant),
        ("unnamed", unnamed),
        ("arenas", parts),
        ("buffers", parts),
    ])
}

#[test]
fn without_a_word_all_are_on() {
    for value in [None, Some(""), Some("on")] {
        assert_eq!(
            run(value),
            (pools(true, true, true, true), vec![]),
            "{value:?}"
        );
    }
}

#[test]
fn off_switches_all_off() {
    assert_eq!(
        run(Some("off")),
        (pools(false, false, false, false), vec![])
    );
}

#[test]
fn a_list_switches_those_off_that_it_names() {
    let cases = [
        ("off:built", pools(false, true, true, true)),
        ("off:const,arenas,buffers", pools(true, false, true, false)),
        (
            "off: arenas , built,buffers",
            pools(false, true, true, false),
        ),
        ("off:nothing-of-this-name", pools(true, true, true, true)),
    ];
    for (value, expected) in cases {
        assert_eq!(run(Some(value)), (expected, vec![]), "{value}");
    }
}

#[test]
fn nonsense_gets_one_line_and_switches_nothing_off() {
    for nonsense in ["false", "0", "off,built", "off:", "off:built,", "OFF"] {
        let (kept, errors) = run(Some(nonsense));
        assert_eq!(kept, pools(true, true, true, true), "{nonsense}");
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].contains("REPOOL=") && errors[0].contains("off:name"),
            "{errors:?}"
        );
    }
}
