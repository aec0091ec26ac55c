// What stands around the examples of the guide: a broker, a runtime, and a time limit.

use broker::Broker;

mod broker {
    include!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/client/broker.rs"
    ));
}

fn run<F: Future<Output = Result<(), Box<dyn std::error::Error>>>>(example: impl FnOnce(Broker) -> F) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let limit = std::time::Duration::from_secs(60);
        let result = tokio::time::timeout(limit, example(Broker::start())).await;
        result.expect("the example comes to its end").unwrap();
    });
}
