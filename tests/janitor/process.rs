//! The janitor as a thread of the process: it leaves signals to others and has the scheduling of the
//! process.

use super::*;

/// Returns a set of one signal.
fn only(signal: libc::c_int) -> libc::sigset_t {
    // SAFETY: all zero is a value of this plain struct; initialised below.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is valid.
    unsafe { libc::sigemptyset(&raw mut set) };
    // SAFETY: as above, and the signal is a valid one.
    unsafe { libc::sigaddset(&raw mut set, signal) };
    set
}

/// Blocks or unblocks one signal in this thread.
fn mask(how: libc::c_int, signal: libc::c_int) {
    let set = only(signal);
    // SAFETY: the set is initialised; the old mask is not asked for.
    let failed = unsafe { libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()) };
    assert_eq!(failed, 0);
}

/// Sends a signal to this process, for any of its threads.
fn send(signal: libc::c_int) {
    // SAFETY: a plain system call.
    let failed = unsafe { libc::kill(std::process::id() as libc::pid_t, signal) };
    assert_eq!(failed, 0);
}

/// Waits at most five seconds for the signal; returns what came.
fn wait_for(signal: libc::c_int) -> libc::c_int {
    let set = only(signal);
    let patience = libc::timespec {
        tv_sec: 5,
        tv_nsec: 0,
    };
    // SAFETY: the pointers are valid; what came is returned as well.
    unsafe { libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const patience) }
}

/// A pool whose janitor runs, started by the calling thread.
fn watched_pool() -> Pool<Vec<u8>> {
    let pool = Pool::builder(|| Vec::with_capacity(1000))
        .trim_every(Duration::from_secs(3600))
        .build();
    drop(pool.get());
    assert!(janitor_stats().running);
    pool
}

#[test]
fn a_signal_blocked_after_the_first_use_of_a_pool_reaches_sigwait() {
    let _turn = alone();
    let status = in_child(|| {
        mask(libc::SIG_UNBLOCK, libc::SIGUSR1);
        let _pool = watched_pool();
        mask(libc::SIG_BLOCK, libc::SIGUSR1);
        (0..100).all(|_| {
            send(libc::SIGUSR1);
            wait_for(libc::SIGUSR1) == libc::SIGUSR1
        })
    });
    assert_eq!(status, 0, "the janitor took it");
}

#[test]
fn a_signal_blocked_after_the_first_use_of_a_pool_wakes_ppoll() {
    static CAME: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn came(_: libc::c_int) {
        CAME.fetch_add(1, SeqCst);
    }
    let _turn = alone();
    let status = in_child(|| {
        let _pool = watched_pool();
        mask(libc::SIG_BLOCK, libc::SIGUSR1);
        let handler: extern "C" fn(libc::c_int) = came;
        // SAFETY: the handler touches an atomic only.
        unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
        send(libc::SIGUSR1);
        // Pending until ppoll opens the mask: if another thread had taken it, this would time out.
        thread::sleep(FAST);
        assert_eq!(CAME.load(SeqCst), 0, "another thread took it");
        // SAFETY: all zero is a value of this plain struct; initialised below.
        let mut none: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is valid.
        unsafe { libc::sigemptyset(&raw mut none) };
        let patience = libc::timespec {
            tv_sec: 5,
            tv_nsec: 0,
        };
        // SAFETY: no descriptors; the other pointers are valid.
        let woken = unsafe {
            libc::ppoll(
                std::ptr::null_mut(),
                0,
                &raw const patience,
                &raw const none,
            )
        };
        woken == -1 && CAME.load(SeqCst) == 1
    });
    assert_eq!(status, 0);
}

#[test]
fn a_signal_that_main_has_blocked_does_not_kill_the_process() {
    let _turn = alone();
    let status = in_child(|| {
        // Whatever was inherited.
        // SAFETY: no handler of ours.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_DFL) };
        mask(libc::SIG_BLOCK, libc::SIGTERM);
        // A thread that has not blocked it starts the janitor and ends.
        let starter = thread::spawn(|| {
            mask(libc::SIG_UNBLOCK, libc::SIGTERM);
            watched_pool()
        });
        let _pool = starter.join().unwrap();
        send(libc::SIGTERM);
        wait_for(libc::SIGTERM) == libc::SIGTERM
    });
    assert_eq!(status, 0);
}

/// Returns the signals that a thread blocks; bit 0 is signal 1.
fn blocked(task: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/self/task/{task}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
}

#[test]
fn it_blocks_all_signals_but_those_that_instructions_raise() {
    let _turn = alone();
    // SAFETY: no arguments.
    let me = unsafe { libc::gettid() }.to_string();
    let before = blocked(&me);
    let _pool = watched_pool();
    assert_eq!(blocked(&me), before, "the starter has its own mask again");
    let janitor = janitor_task();
    let blocked = blocked(&janitor.to_string());
    for signal in 1..=64 {
        let raised = [
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
            libc::SIGSEGV,
            libc::SIGSYS,
            libc::SIGTRAP,
        ]
        .contains(&signal);
        // The first two cannot be blocked; the C library reserves the others.
        if [libc::SIGKILL, libc::SIGSTOP, 32, 33, 34].contains(&signal) {
            continue;
        }
        let is_blocked = blocked >> (signal - 1) & 1 == 1;
        assert_eq!(is_blocked, !raised, "signal {signal}");
    }
}

/// Returns the ID of the janitor's thread once it has its name.
fn janitor_task() -> libc::pid_t {
    eventually("it has its name", || janitor_threads() == 1);
    let task = tasks().find(|task| is_janitor(task)).unwrap();
    task.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

fn processors(task: libc::pid_t) -> Vec<usize> {
    // SAFETY: all zero is a value of this plain struct.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is valid for so many bytes.
    let failed = unsafe { libc::sched_getaffinity(task, size_of_val(&set), &raw mut set) };
    assert_eq!(failed, 0);
    // SAFETY: the index is within the set.
    let there = |&processor: &usize| unsafe { libc::CPU_ISSET(processor, &set) };
    (0..1024).filter(there).collect()
}

fn policy(task: libc::pid_t) -> libc::c_int {
    // SAFETY: takes an integer.
    unsafe { libc::sched_getscheduler(task) }
}

/// The nice value of a task.
fn nice(task: libc::pid_t) -> libc::c_int {
    // SAFETY: takes integers.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, task as libc::id_t) }
}

#[test]
fn it_has_the_scheduling_of_the_process_and_not_of_its_starter() {
    let _turn = alone();
    let status = in_child(|| {
        // SAFETY: no arguments.
        let process = unsafe { libc::getpid() };
        let usual = (policy(process), nice(process), processors(process));
        let starter = thread::spawn(move || {
            // SAFETY: all zero is a value of this plain struct.
            let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
            let last = *processors(0).last().unwrap();
            // SAFETY: the index is within the set.
            unsafe { libc::CPU_SET(last, &mut one) };
            // SAFETY: the pointer is valid for so many bytes.
            let pinned = unsafe { libc::sched_setaffinity(0, size_of_val(&one), &raw const one) };
            assert_eq!(pinned, 0);
            // SAFETY: takes integers. Lower than the process's priority.
            unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 5) };
            let urgent = libc::sched_param { sched_priority: 1 };
            // If permitted.
            // SAFETY: the pointer is valid.
            unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const urgent) };
            watched_pool()
        });
        let _pool = starter.join().unwrap();
        let janitor = janitor_task();
        // The janitor sets these itself before it does anything else.
        eventually("scheduled as the process is", || {
            policy(janitor) == libc::SCHED_OTHER && processors(janitor) == usual.2
        });
        // Only root may raise a priority.
        // SAFETY: no arguments.
        let may = unsafe { libc::geteuid() } == 0;
        usual.0 == libc::SCHED_OTHER && (!may || nice(janitor) == usual.1)
    });
    assert_eq!(status, 0);
}
