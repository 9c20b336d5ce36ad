// A member of the takeover test (see ../../README.md) by franz-go, with cooperative rebalancing.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidegate/clients/member"
)

func main() {
	arguments := member.Arguments()
	partitions := member.Partitions{Name: arguments.Name}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(arguments.Bootstrap),
		kgo.ConsumerGroup(arguments.Group),
		kgo.ConsumeTopics(arguments.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(member.SessionTimeout),
		kgo.HeartbeatInterval(member.HeartbeatInterval),
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.DisableAutoCommit(),
		// A batch is committed before its partitions can move.
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) {
			partitions.Add(added[arguments.Topic])
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
			partitions.Remove(gone[arguments.Topic])
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
			partitions.Remove(gone[arguments.Topic])
		}),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		take(client, arguments.Name)
		client.AllowRebalance()
	}
}

func take(client *kgo.Client, name string) {
	fetches := client.PollFetches(context.Background())
	fetches.EachError(func(_ string, _ int32, err error) { member.Failed(name, err) })
	fetches.EachRecord(func(record *kgo.Record) { member.Read(name, record.Partition, record.Offset) })
	records := fetches.Records()
	if len(records) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := client.CommitRecords(ctx, records...); err != nil {
		member.Failed(name, err)
		return
	}
	next := make(map[int32]int64)
	for _, record := range records {
		next[record.Partition] = record.Offset + 1
	}
	for partition, offset := range next {
		member.Committed(name, partition, offset)
	}
}
