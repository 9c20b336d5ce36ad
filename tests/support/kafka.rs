//! An Apache Kafka of the test's own: one node, in the directory of the test, with little memory.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    process::Process,
    tools::{kafka_command, kafka_tool, kcat_answers},
};

pub struct Kafka {
    pub bootstrap: String,
    process: Process,
    data: PathBuf,
}

impl Kafka {
    pub fn start(directory: &Path) -> Self {
        let (broker, controller) = (free_port(), free_port());
        let data = directory.join("kafka-logs");
        let settings = directory.join("kafka.properties");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
             log.dirs={}\nlog.segment.bytes=1048576\n",
            data.display()
        );
        fs::write(&settings, text).unwrap();
        let settings = settings.to_str().unwrap();
        let format = ["format", "--cluster-id", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", settings];
        let (code, output) = kafka_tool("kafka.tools.StorageTool", &format);
        assert_eq!(code, 0, "{output}");
        let mut command = kafka_command("kafka.Kafka");
        let process = Process::start("Kafka", command.arg(settings), &directory.join("kafka.log"));
        let mut kafka = Self { bootstrap: format!("127.0.0.1:{broker}"), process, data };
        super::eventually("Kafka answers", PATIENCE, || {
            kafka.process.assert_alive();
            kcat_answers(&kafka.bootstrap).then_some(())
        });
        kafka
    }

    /// Stops it in good order; answers where its partitions are.
    pub fn stop(mut self) -> PathBuf {
        self.process.terminate();
        assert!(self.process.wait(PATIENCE).is_some(), "Kafka does not stop\n{}", self.process.output());
        self.data
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    listener.local_addr().unwrap().port()
}

const PATIENCE: Duration = Duration::from_secs(90);
