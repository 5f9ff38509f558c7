// librdkafka (C++) as a user would write it; see ../README.md for the words it understands. Its C++ interface has no
// administration.

#include <librdkafka/rdkafkacpp.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

using Clock = std::chrono::steady_clock;
using Consumer = std::unique_ptr<RdKafka::KafkaConsumer>;
using Arguments = std::map<std::string, std::string>;

static const auto PATIENCE = std::chrono::seconds(120);
static Arguments args;

[[noreturn]] static void fail(const std::string &what) {
    std::cerr << "librdkafka-cpp: " << what << std::endl;
    std::exit(1);
}

static void want(bool condition, const std::string &what) {
    if (!condition) fail(what);
}

static void await(const std::string &what, const std::function<bool()> &holds) {
    const auto end = Clock::now() + PATIENCE;
    while (!holds()) want(Clock::now() < end, what);
}

static std::string arg(const std::string &name, const std::string &otherwise = "") {
    const auto found = args.find(name);
    return found == args.end() ? otherwise : found->second;
}

// --- records --------------------------------------------------------------------------------------------------------

static std::vector<std::string> split(const std::string &text, char at) {
    std::vector<std::string> parts(1);
    for (char c : text) {
        if (c == at) parts.emplace_back();
        else parts.back() += c;
    }
    return parts;
}

// Null is the absence of the string.
using Bytes = std::unique_ptr<std::string>;

static Bytes unhex(const std::string &text) {
    if (text == "-") return nullptr;
    auto bytes = std::make_unique<std::string>();
    for (size_t i = 0; i < text.size(); i += 2) *bytes += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
    return bytes;
}

static std::string hex(const void *data, size_t size) {
    static const char digits[] = "0123456789abcdef";
    if (!data) return "-";
    std::string text;
    for (size_t i = 0; i < size; i++) {
        const unsigned char byte = static_cast<const unsigned char *>(data)[i];
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

static std::vector<std::vector<std::string>> records() {
    std::ifstream file(arg("file"));
    std::vector<std::vector<std::string>> found;
    for (std::string line; std::getline(file, line);) found.push_back(split(line, '\t'));
    return found;
}

static std::unique_ptr<RdKafka::Conf> conf(const Arguments &more) {
    std::unique_ptr<RdKafka::Conf> made(RdKafka::Conf::create(RdKafka::Conf::CONF_GLOBAL));
    std::string error;
    Arguments all = more;
    all["bootstrap.servers"] = arg("bootstrap");
    for (const auto &[name, value] : all)
        want(made->set(name, value, error) == RdKafka::Conf::CONF_OK, error);
    return made;
}

class Deliveries : public RdKafka::DeliveryReportCb {
  public:
    void dr_cb(RdKafka::Message &message) override {
        want(message.err() == RdKafka::ERR_NO_ERROR, "delivery failed: " + message.errstr());
        places.emplace(message.partition(), message.offset());
    }
    std::set<std::pair<int32_t, int64_t>> places;
};

static void produce() {
    auto settings = conf({{"compression.type", arg("compression", "none")},
                          {"enable.idempotence", arg("idempotence", "false")},
                          {"linger.ms", "20"}});
    Deliveries deliveries;
    std::string error;
    settings->set("dr_cb", &deliveries, error);
    std::unique_ptr<RdKafka::Producer> producer(RdKafka::Producer::create(settings.get(), error));
    want(producer != nullptr, error);
    const auto lines = records();
    for (const auto &f : lines) {
        const Bytes key = unhex(f[2]), value = unhex(f[3]);
        RdKafka::Headers *headers = nullptr;
        if (!f[4].empty()) {
            headers = RdKafka::Headers::create();
            for (const auto &header : split(f[4], ',')) {
                const auto pair = split(header, ':');
                const Bytes bytes = unhex(pair[1]);
                headers->add(pair[0], bytes ? bytes->data() : nullptr, bytes ? bytes->size() : 0);
            }
        }
        const auto code = producer->produce(arg("topic"), std::stoi(f[0]), RdKafka::Producer::RK_MSG_COPY,
                                            value ? value->data() : nullptr, value ? value->size() : 0,
                                            key ? key->data() : nullptr, key ? key->size() : 0, std::stoll(f[1]), headers,
                                            nullptr);
        want(code == RdKafka::ERR_NO_ERROR, "produce: " + RdKafka::err2str(code));
        producer->poll(0);
    }
    want(producer->flush(120000) == RdKafka::ERR_NO_ERROR, "records are still waiting");
    want(deliveries.places.size() == lines.size(), std::to_string(deliveries.places.size()) + " acknowledged");
}

static Consumer consumer(const std::string &group, const std::string &instance = "") {
    Arguments settings = {{"group.id", group},
                          {"auto.offset.reset", "earliest"},
                          {"enable.auto.commit", "false"},
                          {"session.timeout.ms", "10000"},
                          {"heartbeat.interval.ms", "500"},
                          {"partition.assignment.strategy", arg("assignor", "range")}};
    if (!instance.empty()) settings["group.instance.id"] = instance;
    std::string error;
    Consumer made(RdKafka::KafkaConsumer::create(conf(settings).get(), error));
    want(made != nullptr, error);
    return made;
}

static std::string written(RdKafka::Message &message) {
    std::ostringstream line;
    line << message.partition() << '\t' << message.offset() << '\t' << message.timestamp().timestamp << '\t'
         << hex(message.key_pointer(), message.key_len()) << '\t' << hex(message.payload(), message.len()) << '\t';
    if (message.headers()) {
        bool first = true;
        for (const auto &header : message.headers()->get_all()) {
            line << (first ? "" : ",") << header.key() << ':' << hex(header.value(), header.value_size());
            first = false;
        }
    }
    return line.str();
}

static void consume() {
    auto reader = consumer("unused");
    std::string error;
    RdKafka::Metadata *metadata = nullptr;
    std::unique_ptr<RdKafka::Topic> topic(RdKafka::Topic::create(reader.get(), arg("topic"), nullptr, error));
    want(reader->metadata(false, topic.get(), &metadata, 10000) == RdKafka::ERR_NO_ERROR, "metadata");
    const size_t partitions = metadata->topics()->front()->partitions()->size();
    delete metadata;
    std::vector<RdKafka::TopicPartition *> all;
    for (size_t i = 0; i < partitions; i++)
        all.push_back(RdKafka::TopicPartition::create(arg("topic"), static_cast<int>(i), RdKafka::Topic::OFFSET_BEGINNING));
    want(reader->assign(all) == RdKafka::ERR_NO_ERROR, "assign");
    RdKafka::TopicPartition::destroy(all);
    const size_t count = std::stoul(arg("count"));
    std::vector<std::string> lines;
    await("did not read " + arg("count") + " records", [&] {
        std::unique_ptr<RdKafka::Message> message(reader->consume(200));
        if (message->err() == RdKafka::ERR__TIMED_OUT) return false;
        want(message->err() == RdKafka::ERR_NO_ERROR, message->errstr());
        lines.push_back(written(*message));
        return lines.size() == count;
    });
    std::ofstream out(arg("out"));
    for (const auto &line : lines) out << line << '\n';
    reader->close();
}

// --- groups ---------------------------------------------------------------------------------------------------------

static std::set<std::pair<int32_t, int64_t>> seen;

static Consumer member(const std::string &instance = "") {
    auto made = consumer(arg("group"), instance);
    want(made->subscribe({arg("topic")}) == RdKafka::ERR_NO_ERROR, "subscribe");
    return made;
}

static RdKafka::ErrorCode poll_once(const Consumer &one) {
    std::unique_ptr<RdKafka::Message> message(one->consume(50));
    if (message->err() == RdKafka::ERR_NO_ERROR) seen.emplace(message->partition(), message->offset());
    return message->err();
}

static std::set<int> held(const Consumer &one) {
    std::vector<RdKafka::TopicPartition *> list;
    want(one->assignment(list) == RdKafka::ERR_NO_ERROR, "assignment");
    std::set<int> partitions;
    for (const auto *partition : list) partitions.insert(partition->partition());
    RdKafka::TopicPartition::destroy(list);
    return partitions;
}

static void await_shares(const std::vector<Consumer> &members, size_t share) {
    await(std::to_string(members.size()) + " members do not hold " + std::to_string(share) + " partitions each", [&] {
        bool all = true;
        for (const auto &one : members) {
            poll_once(one);
            all = all && held(one).size() == share;
        }
        return all;
    });
}

static void rebalance() {
    std::vector<Consumer> members;
    for (int i = 0; i < 3; i++) members.push_back(member());
    await_shares(members, 2);
    std::set<int> all;
    for (const auto &one : members) all.merge(held(one));
    want(all.size() == 6, "not all partitions are held");
    members.back()->close();
    members.pop_back();
    await_shares(members, 3);
    await("saw only some of " + arg("count") + " records", [&] {
        for (const auto &one : members) poll_once(one);
        return seen.size() == std::stoul(arg("count"));
    });
    for (const auto &one : members) one->close();
}

static void static_members() {
    std::vector<Consumer> members;
    members.push_back(member("one"));
    members.push_back(member("two"));
    await_shares(members, 3);
    const auto before = held(members[0]), other = held(members[1]);
    members[0]->close();  // a static member does not leave its group
    members[0] = member("one");
    await_shares(members, 3);
    want(held(members[0]) == before, "came back to other partitions");
    want(held(members[1]) == other, "the other member was disturbed");
    auto second = member("one");
    await("the first member with the id was not fenced", [&] {
        poll_once(second);
        const auto code = poll_once(members[0]);
        return code == RdKafka::ERR__FATAL || code == RdKafka::ERR_FENCED_INSTANCE_ID;
    });
    second->close();
    members[1]->close();
}

static void commit() {
    auto first = member();
    await("offset 4 of partition 0 did not come", [&] {
        poll_once(first);
        return seen.count({0, 4}) == 1;
    });
    std::vector<RdKafka::TopicPartition *> place = {RdKafka::TopicPartition::create(arg("topic"), 0, 5)};
    want(first->commitSync(place) == RdKafka::ERR_NO_ERROR, "commit");
    first->close();

    seen.clear();
    auto second = member();
    place[0]->set_offset(-1);
    want(second->committed(place, 10000) == RdKafka::ERR_NO_ERROR, "committed");
    want(place[0]->offset() == 5, "committed 5, found " + std::to_string(place[0]->offset()));
    RdKafka::TopicPartition::destroy(place);
    await("nothing more came", [&] {
        poll_once(second);
        return seen.count({0, 5}) == 1;
    });
    want(seen.count({0, 4}) == 0, "went on before 5");
    second->close();
}

static void offsets() {
    std::vector<int64_t> times;
    for (const auto &f : records())
        if (f[0] == "0") times.push_back(std::stoll(f[1]));
    auto reader = consumer("unused");
    int64_t low, high;
    const int64_t count = static_cast<int64_t>(times.size());
    want(reader->query_watermark_offsets(arg("topic"), 0, &low, &high, 10000) == RdKafka::ERR_NO_ERROR, "watermarks");
    want(low == 0 && high == count, "partition 0 spans " + std::to_string(low) + " to " + std::to_string(high));
    const std::map<int64_t, int64_t> wanted = {{times[0], 0},
                                               {times[times.size() / 2], count / 2},
                                               {times.back() + 3'600'000, RdKafka::Topic::OFFSET_END}};
    for (const auto &[time, offset] : wanted) {
        std::vector<RdKafka::TopicPartition *> place = {RdKafka::TopicPartition::create(arg("topic"), 0, time)};
        want(reader->offsetsForTimes(place, 10000) == RdKafka::ERR_NO_ERROR, "offsets for times");
        want(place[0]->offset() == offset, "time " + std::to_string(time) + " is at " + std::to_string(place[0]->offset()));
        RdKafka::TopicPartition::destroy(place);
    }
    reader->close();
}

int main(int count, char **words) {
    const std::map<std::string, void (*)()> cases = {{"produce", produce},       {"consume", consume}, {"rebalance", rebalance},
                                                     {"static", static_members}, {"commit", commit},   {"offsets", offsets}};
    for (int i = 2; i < count; i++) {
        const std::string word = words[i];
        const size_t at = word.find('=');
        args[word.substr(0, at)] = word.substr(at + 1);
    }
    const auto found = count > 1 ? cases.find(words[1]) : cases.end();
    want(found != cases.end(), "no such case");
    found->second();
}
