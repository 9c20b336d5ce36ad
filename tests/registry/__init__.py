"""Tests of the gateway with a real Schema Registry on it, and the same against Apache Kafka."""
