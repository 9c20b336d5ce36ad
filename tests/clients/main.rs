#[test] fn t() { let _ = rdkafka::util::get_rdkafka_version(); }
