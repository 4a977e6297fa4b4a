//! Servers that are not there, not themselves, or gone: what asking costs meanwhile, and how they are found again.

use super::*;

/// How long the next question takes to fail, and for which reason.
async fn failure(lab: &Lab) -> (Duration, DotError) {
    let asked_at = now();
    let error = lab.ask("one.example.").await.unwrap().unwrap_err();
    (now() - asked_at, error)
}

#[tokio::test(start_paused = true)]
async fn while_nobody_listens_only_the_first_question_waits() {
    let lab = Lab::new(always(|| Fate::Refuse), DotLimits::default());
    let (took, error) = failure(&lab).await;
    assert!(
        matches!(error, DotError::NoConnection(ConnectError::Tcp { .. })),
        "{error}"
    );
    assert!(took <= DotLimits::default().grace, "{took:?}");
    for _ in 0..100 {
        let (took, error) = failure(&lab).await;
        assert_eq!(took, Duration::ZERO, "{error}");
        tokio::time::sleep(Duration::from_millis(90)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn before_a_silent_server_only_the_first_questions_wait() {
    let lab = Lab::new(always(|| Fate::Silence), DotLimits::default());
    let first = lab.ask("one.example.");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let second_at = now();
    let second = lab.ask("two.example.");
    assert!(first.await.unwrap().is_err());
    assert!(second.await.unwrap().is_err());
    assert!(
        now() - second_at < Duration::from_secs(1),
        "they fail together"
    );
    for _ in 0..100 {
        let (took, error) = failure(&lab).await;
        assert_eq!(took, Duration::ZERO);
        assert!(matches!(
            error,
            DotError::NoConnection(ConnectError::TimedOut { .. })
        ));
        tokio::time::sleep(Duration::from_millis(90)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_identity_is_told_at_once_again_and_again() {
    let lab = Lab::new(always(|| Fate::Distrust), DotLimits::default());
    for _ in 0..100 {
        let (took, error) = failure(&lab).await;
        assert_eq!(took, Duration::ZERO);
        assert!(matches!(
            error,
            DotError::NoConnection(ConnectError::Untrusted { .. })
        ));
        tokio::time::sleep(Duration::from_millis(90)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_server_costs_no_question() {
    let refusals = always(|| Fate::Refuse).take(3);
    let mut lab = Lab::new(refusals, DotLimits::default());
    let asked = lab.ask("one.example.");
    let mut server = lab.accept().await;
    let question = server.query().await;
    server.send(&answer(&question)).await;
    assert!(asked.await.unwrap().is_ok());
    assert_eq!(lab.pool.status().last_failure, None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_back_is_found_within_a_second_without_another_question() {
    for fate in [|| Fate::Refuse, || Fate::Distrust] {
        let mut lab = Lab::new(always(fate).take(8), DotLimits::default());
        assert!(failure(&lab).await.0 <= DotLimits::default().grace);
        let mut server = lab.accept().await;
        assert_eq!(lab.pool.status().connect_failures, 8);
        let back = now();
        let asked = lab.ask("two.example.");
        let question = server.query().await;
        server.send(&answer(&question)).await;
        assert!(asked.await.unwrap().is_ok());
        assert_eq!(now(), back, "connected already");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_nobody_asks_for_is_left_alone_and_then_gets_another_chance() {
    let lab = Lab::new(always(|| Fate::Refuse), DotLimits::default());
    failure(&lab).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let failures = lab.pool.status().connect_failures;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(lab.pool.status().connect_failures, failures);
    let (took, _) = failure(&lab).await;
    assert_eq!(took, DotLimits::default().grace, "as the first one");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_pool_stops_to_look_for_its_server() {
    let lab = Lab::new(always(|| Fate::Silence), DotLimits::default());
    failure(&lab).await;
    let Lab { pool, mut accepted } = lab;
    drop(pool);
    // The connector is dropped with the last who might use it.
    assert!(accepted.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_vanished_from_an_open_connection_is_no_different() {
    let plan = std::iter::once(Fate::Accept).chain(always(|| Fate::Silence));
    let mut lab = Lab::new(plan, DotLimits::default());
    lab.pool.connect(now() + BUDGET).await.unwrap();
    let _gone = lab.accept().await;
    assert!(failure(&lab).await.0 < BUDGET);
    for _ in 0..40 {
        let (took, error) = failure(&lab).await;
        assert_eq!(took, Duration::ZERO, "{error}");
        tokio::time::sleep(Duration::from_millis(90)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_server_is_not_hammered_however_many_ask() {
    let refusals = std::iter::repeat_with(|| Fate::Refuse).take(10_000);
    let lab = Lab::new(refusals, DotLimits::default());
    let started = now();
    while now() - started < Duration::from_secs(20) {
        let asking: Vec<_> = (0..50).map(|_| lab.ask("one.example.")).collect();
        for asked in asking {
            assert!(asked.await.unwrap().is_err());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let failures = lab.pool.status().connect_failures;
    assert!(failures <= 30, "{failures} attempts in 20 seconds");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_hangs_up_is_not_hammered_either() {
    let mut lab = Lab::new([], DotLimits::default());
    let started = now();
    let hang_up = async { while lab.accepted.recv().await.is_some() {} };
    let pool = std::sync::Arc::clone(&lab.pool);
    let asking = async {
        while now() - started < Duration::from_secs(20) {
            pool.ask(&query("one.example."), now() + BUDGET)
                .await
                .unwrap_err();
        }
    };
    tokio::select! { () = hang_up => {}, () = asking => {} }
    let connects = pool.status().connects;
    assert!(connects <= 40, "{connects} connects in 20 seconds");
}

#[tokio::test(start_paused = true)]
async fn another_identity_is_not_tried_again() {
    let lab = Lab::new([Fate::Distrust], DotLimits::default());
    let error = lab.ask("one.example.").await.unwrap().unwrap_err();
    assert!(matches!(
        error,
        DotError::NoConnection(ConnectError::Untrusted { .. })
    ));
    assert_eq!(lab.pool.status().connect_failures, 1);
}
