// A member of the takeover test (see ../../README.md) by Sarama.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/IBM/sarama"

	"tidegate/clients/member"
)

func main() {
	arguments := member.Arguments()
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	config.Consumer.Group.Session.Timeout = member.SessionTimeout
	config.Consumer.Group.Heartbeat.Interval = member.HeartbeatInterval
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	brokers := []string{arguments.Bootstrap}
	admin, err := sarama.NewClusterAdmin(brokers, config)
	if err != nil {
		fail(err)
	}
	group, err := sarama.NewConsumerGroup(brokers, arguments.Group, config)
	if err != nil {
		fail(err)
	}
	reader := &reader{
		name:       arguments.Name,
		topic:      arguments.Topic,
		admin:      admin,
		group:      arguments.Group,
		partitions: member.Partitions{Name: arguments.Name},
	}
	for {
		if err := group.Consume(context.Background(), []string{arguments.Topic}, reader); err != nil {
			member.Failed(arguments.Name, err)
			time.Sleep(100 * time.Millisecond)
		}
	}
}

type reader struct {
	name, topic string
	admin       sarama.ClusterAdmin
	group       string
	partitions  member.Partitions
}

func (r *reader) Setup(session sarama.ConsumerGroupSession) error {
	r.partitions.Set(session.Claims()[r.topic])
	return nil
}

func (r *reader) Cleanup(sarama.ConsumerGroupSession) error {
	r.partitions.Set(nil)
	return nil
}

func (r *reader) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			member.Read(r.name, message.Partition, message.Offset)
			for range len(claim.Messages()) {
				message = <-claim.Messages()
				member.Read(r.name, message.Partition, message.Offset)
			}
			session.MarkMessage(message, "")
			r.commit(session, message.Partition)
		case <-session.Context().Done():
			return nil
		}
	}
}

// commit asks the broker what it has taken, because Sarama does not tell how a commit ended.
func (r *reader) commit(session sarama.ConsumerGroupSession, partition int32) {
	session.Commit()
	found, err := r.admin.ListConsumerGroupOffsets(r.group, map[string][]int32{r.topic: {partition}})
	if err != nil {
		member.Failed(r.name, err)
		return
	}
	if block := found.GetBlock(r.topic, partition); block != nil && block.Err == sarama.ErrNoError && block.Offset >= 0 {
		member.Committed(r.name, partition, block.Offset)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
