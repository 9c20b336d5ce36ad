//! DescribeCluster v0–2: the cluster's id, controller and brokers. KIP-919 (v1: endpoint type), v2: fenced brokers.

use kafka_protocol::{
    ResponseError,
    messages::{
        BrokerId, DescribeClusterRequest, DescribeClusterResponse, describe_cluster_response::DescribeClusterBroker,
    },
};

use crate::api::{Handled, Request};

use super::{AUTHORIZED_CLUSTER_OPERATIONS, operations_if, text};

pub fn handle(request: Request) -> Handled {
    let body: DescribeClusterRequest = request.decode()?;
    let broker = request.broker();
    let response = DescribeClusterResponse::default()
        .with_cluster_id(text(broker.cluster_id()))
        .with_endpoint_type(ENDPOINT_BROKERS)
        .with_cluster_authorized_operations(operations_if(
            body.include_cluster_authorized_operations,
            AUTHORIZED_CLUSTER_OPERATIONS,
        ));
    if request.version >= 1 && body.endpoint_type != ENDPOINT_BROKERS {
        // Controllers have no listener of their own here.
        let (error, message) = match body.endpoint_type {
            ENDPOINT_CONTROLLERS => (ResponseError::MismatchedEndpointType, MISMATCHED_ENDPOINT.to_owned()),
            other => (ResponseError::UnsupportedEndpointType, format!("Unsupported endpoint type {other}")),
        };
        return request.ready(&response.with_error_code(error.code()).with_error_message(Some(text(message))));
    }
    let advertised = broker.advertised();
    let node = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(broker.node_id()))
        .with_host(text(&advertised.host))
        .with_port(i32::from(advertised.port))
        .with_rack(broker.settings().broker.rack.as_ref().map(text));
    request.ready(&response.with_controller_id(BrokerId(broker.node_id())).with_brokers(vec![node]))
}

const MISMATCHED_ENDPOINT: &str =
    "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER";
const ENDPOINT_BROKERS: i8 = 1;
const ENDPOINT_CONTROLLERS: i8 = 2;
