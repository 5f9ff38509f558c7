// franz-go as a user would write it; see ../README.md for the words it understands.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const patience = 120 * time.Second

var args = map[string]string{}

func want(condition bool, format string, values ...any) {
	if !condition {
		fmt.Fprintf(os.Stderr, "franz-go: "+format+"\n", values...)
		os.Exit(1)
	}
}

func must[T any](value T, err error) T {
	want(err == nil, "%v", err)
	return value
}

// await repeats a condition until it holds; poll is what else happens meanwhile.
func await(what string, holds func() bool) {
	end := time.Now().Add(patience)
	for !holds() {
		want(time.Now().Before(end), "%s", what)
		time.Sleep(20 * time.Millisecond)
	}
}

func number(name string) int { return must(strconv.Atoi(args[name])) }

func unhex(text string) []byte {
	if text == "-" {
		return nil
	}
	// An empty slice is not nil, and franz-go keeps the two apart.
	return append([]byte{}, must(hex.DecodeString(text))...)
}

func tohex(data []byte) string {
	if data == nil {
		return "-"
	}
	return hex.EncodeToString(data)
}

func client(more ...kgo.Opt) *kgo.Client {
	return must(kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(strings.Split(args["bootstrap"], ",")...)}, more...)...))
}

func records() []*kgo.Record {
	file := must(os.Open(args["file"]))
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<24)
	var found []*kgo.Record
	for lines.Scan() {
		f := strings.Split(lines.Text(), "\t")
		record := &kgo.Record{
			Topic: args["topic"], Partition: int32(must(strconv.Atoi(f[0]))),
			Timestamp: time.UnixMilli(must(strconv.ParseInt(f[1], 10, 64))), Key: unhex(f[2]), Value: unhex(f[3]),
		}
		if f[4] != "" {
			for _, header := range strings.Split(f[4], ",") {
				name, value, _ := strings.Cut(header, ":")
				record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: unhex(value)})
			}
		}
		found = append(found, record)
	}
	return found
}

func produce() {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	options := []kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codecs[args["compression"]]),
		kgo.ProducerLinger(20 * time.Millisecond),
	}
	if args["idempotence"] != "true" {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	producer := client(options...)
	defer producer.Close()
	sent := records()
	results := producer.ProduceSync(context.Background(), sent...)
	want(results.FirstErr() == nil, "delivery failed: %v", results.FirstErr())
	places := map[[2]int64]bool{}
	for _, result := range results {
		places[[2]int64{int64(result.Record.Partition), result.Record.Offset}] = true
	}
	want(len(places) == len(sent), "two records were acknowledged at one offset")
}

func consume() {
	reader := client(kgo.ConsumeTopics(args["topic"]), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer reader.Close()
	out := must(os.Create(args["out"]))
	defer out.Close()
	deadline, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	seen := 0
	for seen < number("count") {
		fetches := reader.PollFetches(deadline)
		want(fetches.Err() == nil, "read %d of %s records: %v", seen, args["count"], fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			var headers []string
			for _, header := range record.Headers {
				headers = append(headers, header.Key+":"+tohex(header.Value))
			}
			fmt.Fprintf(out, "%d\t%d\t%d\t%s\t%s\t%s\n", record.Partition, record.Offset, record.Timestamp.UnixMilli(),
				tohex(record.Key), tohex(record.Value), strings.Join(headers, ","))
			seen++
		})
	}
}

// --- groups ---------------------------------------------------------------------------------------------------------

// member is a consumer in a group that polls in the background, as an application would.
type member struct {
	client   *kgo.Client
	stop     context.CancelFunc
	done     chan struct{}
	mu       sync.Mutex
	held     map[int32]bool
	revoked  int
	fenced   bool
	firstOf0 int64
}

var (
	seenMu sync.Mutex
	seen   = map[[2]int64]bool{}
)

func join(more ...kgo.Opt) *member {
	m := &member{held: map[int32]bool{}, done: make(chan struct{}), firstOf0: -1}
	lost := func(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, partition := range gone[args["topic"]] {
			delete(m.held, partition)
			m.revoked++
		}
	}
	m.client = client(append([]kgo.Opt{
		kgo.ConsumerGroup(args["group"]), kgo.ConsumeTopics(args["topic"]), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.SessionTimeout(10 * time.Second), kgo.OnPartitionsRevoked(lost), kgo.OnPartitionsLost(lost),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, partition := range added[args["topic"]] {
				m.held[partition] = true
			}
		}),
	}, more...)...)
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	go m.poll(ctx)
	return m
}

func (m *member) poll(ctx context.Context) {
	defer close(m.done)
	for ctx.Err() == nil {
		fetches := m.client.PollFetches(ctx)
		for _, problem := range fetches.Errors() {
			m.mu.Lock()
			m.fenced = m.fenced || errors.Is(problem.Err, kerr.FencedInstanceID)
			m.mu.Unlock()
		}
		seenMu.Lock()
		fetches.EachRecord(func(record *kgo.Record) {
			seen[[2]int64{int64(record.Partition), record.Offset}] = true
			if record.Partition == 0 && m.firstOf0 < 0 {
				m.firstOf0 = record.Offset
			}
		})
		seenMu.Unlock()
	}
}

func (m *member) leave() {
	m.stop()
	<-m.done
	m.client.Close()
}

func (m *member) partitions() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.held))
}

func sharesAre(share int, members ...*member) func() bool {
	return func() bool {
		for _, m := range members {
			if len(m.partitions()) != share {
				return false
			}
		}
		return true
	}
}

func rebalance() {
	balancer := kgo.RangeBalancer()
	if args["assignor"] == "cooperative-sticky" {
		balancer = kgo.CooperativeStickyBalancer()
	}
	members := []*member{}
	for range 3 {
		members = append(members, join(kgo.Balancers(balancer)))
	}
	await("three members do not hold two partitions each", sharesAre(2, members...))
	all := map[int32]bool{}
	for _, m := range members {
		for _, partition := range m.partitions() {
			all[partition] = true
		}
	}
	want(len(all) == 6, "the members' partitions are %v", all)
	members[2].leave()
	await("two members do not hold three partitions each", sharesAre(3, members[:2]...))
	await("did not see every record", func() bool {
		seenMu.Lock()
		defer seenMu.Unlock()
		return len(seen) == number("count")
	})
	members[0].leave()
	members[1].leave()
}

func static() {
	balancer := kgo.Balancers(kgo.RangeBalancer())
	one, two := join(balancer, kgo.InstanceID("one")), join(balancer, kgo.InstanceID("two"))
	await("two static members do not share six partitions", sharesAre(3, one, two))
	before, rounds := one.partitions(), two.revoked
	one.leave() // a static member does not leave its group
	again := join(balancer, kgo.InstanceID("one"))
	await("the member did not come back", sharesAre(3, again))
	want(slices.Equal(again.partitions(), before), "held %v, came back to %v", before, again.partitions())
	want(two.revoked == rounds, "the other member was disturbed")
	second := join(balancer, kgo.InstanceID("one"))
	await("the first member with the id was not fenced", func() bool {
		again.mu.Lock()
		defer again.mu.Unlock()
		return again.fenced
	})
	again.leave()
	second.leave()
	two.leave()
}

func commit() {
	ctx, topic := context.Background(), args["topic"]
	first := join()
	await("offset 4 of partition 0 did not come", func() bool {
		seenMu.Lock()
		defer seenMu.Unlock()
		return seen[[2]int64{0, 4}]
	})
	first.stop()
	<-first.done
	// As a member, and then as an administrator, who may add a word to it.
	place := map[string]map[int32]kgo.EpochOffset{topic: {0: {Epoch: 0, Offset: 5}}}
	first.client.CommitOffsetsSync(ctx, place, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
		want(err == nil && answer.Topics[0].Partitions[0].ErrorCode == 0, "commit: %v", err)
	})
	admin := kadm.NewClient(first.client)
	asMember, _ := must(admin.FetchOffsets(ctx, args["group"])).Lookup(topic, 0)
	want(asMember.At == 5, "committed 5, found %v", asMember)
	first.client.LeaveGroup()
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 5, LeaderEpoch: -1, Metadata: "half way"})
	must(0, admin.CommitAllOffsets(ctx, args["group"], offsets))
	found, _ := must(admin.FetchOffsets(ctx, args["group"])).Lookup(topic, 0)
	want(found.At == 5 && found.Metadata == "half way", "committed 5, found %v", found)
	first.client.Close()

	second := join()
	await("nothing more came", func() bool {
		seenMu.Lock()
		defer seenMu.Unlock()
		return second.firstOf0 >= 0
	})
	want(second.firstOf0 == 5, "went on at %d and not at 5", second.firstOf0)
	second.leave()
}

// --- offsets and administration -------------------------------------------------------------------------------------

func offsets() {
	ctx, topic := context.Background(), args["topic"]
	plain := client()
	defer plain.Close()
	admin := kadm.NewClient(plain)
	var times []int64
	for _, record := range records() {
		if record.Partition == 0 {
			times = append(times, record.Timestamp.UnixMilli())
		}
	}
	at := func(listed kadm.ListedOffsets, err error) int64 {
		found, ok := must(listed, err).Lookup(topic, 0)
		want(ok && found.Err == nil, "partition 0: %v", found.Err)
		return found.Offset
	}
	middle := len(times) / 2
	want(at(admin.ListStartOffsets(ctx, topic)) == 0, "the start is not 0")
	want(at(admin.ListEndOffsets(ctx, topic)) == int64(len(times)), "the end is not %d", len(times))
	want(at(admin.ListCommittedOffsets(ctx, topic)) == int64(len(times)), "the last stable offset is not %d", len(times))
	want(at(admin.ListOffsetsAfterMilli(ctx, times[middle], topic)) == int64(middle), "the middle is not %d", middle)
	want(at(admin.ListMaxTimestampOffsets(ctx, topic)) == int64(len(times)-1), "the youngest record")
}

func admin() {
	ctx, topic, group := context.Background(), args["topic"], args["group"]
	plain := client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer plain.Close()
	admin := kadm.NewClient(plain)
	value := "3600000"
	created := must(admin.CreateTopic(ctx, 2, 1, map[string]*string{"retention.ms": &value}, topic))
	want(created.Err == nil && created.NumPartitions == 2, "created %v", created)
	_, err := admin.CreateTopic(ctx, 2, 1, nil, topic)
	want(errors.Is(err, kerr.TopicAlreadyExists), "a second creation said %v", err)

	config := func(name string) string {
		for _, entry := range must(must(admin.DescribeTopicConfigs(ctx, topic)).On(topic, nil)).Configs {
			if entry.Key == name {
				return entry.MaybeValue()
			}
		}
		return ""
	}
	await("retention.ms as created", func() bool { return config("retention.ms") == "3600000" })
	segment := "60000"
	for _, answer := range must(admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "segment.ms", Value: &segment}, {Op: kadm.DeleteConfig, Name: "retention.ms"},
	}, topic)) {
		want(answer.Err == nil, "alter configs: %v", answer.Err)
	}
	await("the altered configs", func() bool { return config("segment.ms") == "60000" && config("retention.ms") == "604800000" })

	must(0, must(admin.UpdatePartitions(ctx, 4, topic)).Error())
	await("four partitions", func() bool { return len(must(admin.ListTopics(ctx, topic))[topic].Partitions) == 4 })
	for range 10 {
		result := plain.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x")})
		want(result.FirstErr() == nil, "produce: %v", result.FirstErr())
	}
	var cut kadm.Offsets
	cut.Add(kadm.Offset{Topic: topic, Partition: 0, At: 6})
	deleted, _ := must(admin.DeleteRecords(ctx, cut)).Lookup(topic, 0)
	want(deleted.Err == nil && deleted.LowWatermark == 6, "deleted %v", deleted)

	m := join()
	await("the member has no partitions", sharesAre(4, m))
	described := must(admin.DescribeGroups(ctx, group))[group]
	want(described.State == "Stable" && len(described.Members) == 1, "the group is %v", described)
	busy := must(admin.DeleteGroups(ctx, group))[group]
	want(errors.Is(busy.Err, kerr.NonEmptyGroup), "deleting a busy group said %v", busy.Err)
	m.leave()
	var place kadm.Offsets
	place.Add(kadm.Offset{Topic: topic, Partition: 0, At: 7, LeaderEpoch: -1})
	must(0, admin.CommitAllOffsets(ctx, group, place))
	lag := must(admin.Lag(ctx, group))[group]
	want(lag.Error() == nil && lag.Lag[topic][0].Lag == 3, "the lag is %v", lag.Lag)
	must(admin.DeleteGroup(ctx, group))
	want(len(must(admin.BrokerMetadata(ctx)).Brokers) > 0, "brokers")
	must(admin.DeleteTopic(ctx, topic))
	await("the topic is still there", func() bool { return !must(admin.ListTopics(ctx)).Has(topic) })
}

func main() {
	cases := map[string]func(){
		"produce": produce, "consume": consume, "rebalance": rebalance, "static": static, "commit": commit,
		"offsets": offsets, "admin": admin,
	}
	for _, word := range os.Args[2:] {
		name, value, _ := strings.Cut(word, "=")
		args[name] = value
	}
	run, known := cases[os.Args[1]]
	want(known, "no case %s", os.Args[1])
	run()
}
