"""Faults of Kubernetes objects: the Lease and the documents of the metadata, deleted, edited, put back to an earlier state.

Owns reading and writing these objects through the API server. Whatever it deletes it has saved first, and puts back.
"""

import contextlib
import json
import ssl
import time
import urllib.error
import urllib.request

from brokers import COUNT
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from load import create
from rounds import LEDGER

LEASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases/nodes-controller"
DOCUMENTS = "/apis/ottla.dev/v1alpha1/namespaces/default/metadatashards"
# What a controller writes when it finds the documents gone or gone back.
STOPS = "the controller stops"


def ask(brokers, method, path, body=None):
    config = json.loads((brokers.scratch / "plane/kubeconfig").read_text())
    server, token = config["clusters"][0]["cluster"]["server"], config["users"][0]["user"]["token"]
    # The certificate is one that the server has made for itself.
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server + path, data, {"Authorization": f"Bearer {token}", "Content-Type": kind}, method=method)
    with urllib.request.urlopen(request, timeout=10, context=trusting) as answer:
        return json.loads(answer.read())


def delete_lease(one):
    one.probe(one.partition_led(by_controller=False))
    at = time.monotonic()
    ask(one.brokers, "DELETE", LEASE)
    one.wait_gap(at, "Lease deleted")
    # Somebody takes it again.
    wait_lease(one, lambda lease: True)
    one.finish(at)


def edit_lease(one):
    """Somebody writes a holder into it that does not exist: it must run out, or be taken earlier."""
    one.probe(one.partition_led(by_controller=False))
    before = one.brokers.controller()
    at = time.monotonic()
    ask(one.brokers, "PATCH", LEASE, {"spec": {"holderIdentity": "99/nobody@127.0.0.1:1"}})
    one.wait_gap(at, "Lease edited")
    took = wait_lease(one, lambda lease: not lease["spec"]["holderIdentity"].startswith("99/"))
    after = one.brokers.controller()
    one.notes.append(f"taken from nobody after {took:.1f} s; the controller was {before}, is {after}")
    one.finish(at)


def wait_lease(one, done, seconds=30):
    began = time.monotonic()
    while True:
        with contextlib.suppress(urllib.error.HTTPError):
            if done(ask(one.brokers, "GET", LEASE)):
                return time.monotonic() - began
        if time.monotonic() > began + seconds:
            one.wrong.append(f"nobody has taken the Lease within {seconds} s")
            return seconds
        time.sleep(0.05)


def document_path(document):
    return f"{DOCUMENTS}/{document['metadata']['name']}"


def creatable(item):
    """A document as it can be created again."""
    keep = ("name", "namespace", "labels", "annotations", "finalizers")
    metadata = {key: item["metadata"][key] for key in keep if key in item["metadata"]}
    return {"apiVersion": "ottla.dev/v1alpha1", "kind": "MetadataShard", "metadata": metadata, "spec": item["spec"]}


def saved(brokers):
    return [creatable(item) for item in ask(brokers, "GET", DOCUMENTS)["items"]]


def until_nobody_wrote(step, seconds=30):
    """What a step returns that is refused if a broker has written in between; it is begun anew then."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return step()
        except urllib.error.HTTPError as error:
            if error.code != 409 or time.monotonic() > deadline:
                raise


def erase(brokers, documents):
    """Deletes them; each as it was at that very moment."""
    def one(document):
        path = document_path(document)
        newest = ask(brokers, "GET", path)
        version = ask(brokers, "PATCH", path, {"metadata": {"finalizers": None,
                                                            "resourceVersion": newest["metadata"]["resourceVersion"]}})
        ask(brokers, "DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {
            "resourceVersion": version["metadata"]["resourceVersion"]}})
        return creatable(newest)
    return [until_nobody_wrote(lambda document=document: one(document)) for document in documents]


def put_back(brokers, documents):
    """Creates or overwrites them; returns what each was overwritten from, as it was at that very moment."""
    def one(document):
        try:
            ask(brokers, "POST", DOCUMENTS, document)
            return None
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise
        before = ask(brokers, "GET", document_path(document))
        ask(brokers, "PUT", document_path(document), before | {"spec": document["spec"]})
        return creatable(before)
    return [until_nobody_wrote(lambda document=document: one(document)) for document in documents]


def stops_and_comes_back(one, provoke, lost):
    """Has the controller write: it finds out, stops with a sentence, and records go on. Once what was lost is back, brokers
    start and serve."""
    brokers, ends = one.brokers, one.log_ends()
    brokers.expected.append(STOPS)
    admin = AdminClient({"bootstrap.servers": brokers.bootstrap, "log_level": 0})
    with contextlib.suppress(KafkaException):
        provoke(admin).result(10)
        one.wrong.append("the metadata is changed although it is gone or gone back")
    _, line = one.wait_log(STOPS, since=ends)
    one.notes.append(line.split(STOPS, 1)[-1].strip().removeprefix("why="))
    at = time.monotonic()
    if one.prober.wait_acks(at, 20, seconds=10) is None:
        one.notes.append("nothing is acknowledged while the controller has stopped")
    for index in range(COUNT):
        brokers.kill(index)
    lost()
    at = time.monotonic()
    brokers.start_all()
    one.wait_gap(at, "documents put back, brokers started")
    one.finish(at)


def delete_documents(one):
    one.probe(one.partition_led(by_controller=False))
    newest = erase(one.brokers, saved(one.brokers))
    new = f"{one.topic}-refused"
    stops_and_comes_back(one, lambda admin: admin.create_topics([NewTopic(new, 1, 3)], request_timeout=5)[new],
                         lambda: put_back(one.brokers, newest))


def restore_documents(one):
    """What changed since is a topic of its own: only its shard goes back. Claimers may write the others before they find it."""
    old = saved(one.brokers)
    since = f"{one.topic}-since"
    create(one.brokers.bootstrap, since, 1)
    one.brokers.wait_whole([LEDGER, one.topic, since])
    one.probe(one.partition_led(by_controller=False))
    was = {document["metadata"]["name"]: document["spec"] for document in old}
    changed = {document["metadata"]["name"] for document in saved(one.brokers)
               if document["spec"] != was[document["metadata"]["name"]]}
    newest = put_back(one.brokers, [document for document in old if document["metadata"]["name"] in changed])

    def lost():
        now = {document["metadata"]["name"]: document["spec"] for document in saved(one.brokers)}
        put_back(one.brokers, [document for document in newest
                               if now[document["metadata"]["name"]] == was[document["metadata"]["name"]]])
    stops_and_comes_back(one, lambda admin: admin.create_partitions([NewPartitions(since, 2)], request_timeout=5)[since], lost)


def controller_alone_has_news(one):
    """It has written that a topic has more partitions, and dies before another broker hears of it. Whoever hears of them only
    when their in-sync sets are already smaller has lost no log, and leads."""
    one.probe(one.partition_led(by_controller=False))
    brokers, lead, topic = one.brokers, one.controller, f"{one.topic}-more"
    create(brokers.bootstrap, topic, 1)
    brokers.wait_whole([LEDGER, one.topic, topic])
    admin = AdminClient({"bootstrap.servers": f"{brokers.room.hosts[lead]}:{brokers.port + lead}", "log_level": 0})
    # Connected before it alone answers.
    admin.list_topics(timeout=10)
    one.hurt[lead] += 1
    for other in one.others(lead):
        brokers.pause(other)
    before = saved(brokers)
    # Whether it is answered before anybody has heard does not matter: the document does.
    with contextlib.suppress(KafkaException):
        admin.create_partitions([NewPartitions(topic, 1 + COUNT)], request_timeout=1)[topic].result(10)
    if saved(brokers) == before:
        one.wrong.append("the new partitions were not written")
    at = brokers.kill(lead)
    for other in one.others(lead):
        brokers.resume(other)
    one.wait_gap(at, f"kill {lead}, which alone knows new partitions")
    wait_led(one, topic, 1 + COUNT)
    brokers.start(lead)
    one.finish(at)
    brokers.wait_whole([topic])


def wait_led(one, topic, partitions, seconds=30):
    """Until a broker that lives names a leader that lives for each of them."""
    began, living = time.monotonic(), set(one.brokers.pids)
    while True:
        _, found = one.brokers.ask_metadata(min(living), [topic])
        led = [place for place, (_, leader, _) in found.items() if leader in living]
        if len(led) == partitions:
            one.notes.append(f"all led after {time.monotonic() - began:.1f} s")
            return
        if time.monotonic() > began + seconds:
            one.wrong.append(f"of {partitions} partitions of {topic} only {sorted(led)} are led after {seconds} s")
            return
        time.sleep(0.05)
