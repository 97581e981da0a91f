"""
A Gy client made of Scapy's Diameter layer: connects to 127.0.0.1:PORT, and for each line of its input does what it says.

    { "command": 272, "application": 4, "avps": [[NAME, VALUE], ...] }   sends a request, waits for its answer
    { "wait": true }                                                     waits for a request of the server, and answers it

VALUE is a number, a text, or for a group such a list; { "hex": ... } are octets. Each message that comes is one line:
{ "command", "request", "avps" }, with the names of Scapy's dictionary.
"""
import json
import socket
import sys

try:
    from scapy.contrib.diameter import AVP, DiamAns, DiamG, DiamReq
    from scapy.packet import raw
except ImportError:
    sys.exit("no Scapy here: install python3-scapy")

WATCHDOG, REQUEST, SUCCESS, LIMITED_SUCCESS = 280, 0x80, 2001, 2002


def written(avps):
    return [AVP(name, val=value_of(value)) for name, value in avps]


def value_of(value):
    if isinstance(value, list):
        return written(value)
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    return value


def read(avps):
    return [[avp.name.replace("AVP ", "", 1), said(avp)] for avp in avps]


def said(avp):
    value = getattr(avp, "val", None)
    if isinstance(value, list):
        return read(value)
    if not isinstance(value, bytes):
        return value
    try:
        text = value.decode("ascii")
        return text if text.isprintable() else {"hex": value.hex()}
    except UnicodeDecodeError:
        return {"hex": value.hex()}


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.identifier = 0

    def message(self):
        header = self.octets(4)
        return DiamG(header + self.octets(int.from_bytes(header[1:4], "big") - 4))

    def octets(self, count):
        found = b""
        while len(found) < count:
            more = self.socket.recv(count - len(found))
            if not more:
                sys.exit("the server has closed the connection")
            found += more
        return found

    def ask(self, command, application, avps):
        self.identifier += 1
        ids = {"drHbHId": self.identifier, "drEtEId": self.identifier}
        self.socket.sendall(raw(DiamReq(command, drAppId=application, avpList=written(avps), **ids)))
        while True:
            message = self.message()
            if message.drFlags & REQUEST:
                self.answer(message)
            elif message.drHbHId == self.identifier:
                return message

    def wait(self):
        while True:
            message = self.message()
            if message.drFlags & REQUEST and self.answer(message):
                return message

    def answer(self, request):
        """Whether somebody waits for such a request."""
        watchdog = request.drCode == WATCHDOG
        avps = [
            *([] if watchdog else [avp for avp in request.avpList if avp.avpCode == 263]),
            *written([["Result-Code", SUCCESS if watchdog else LIMITED_SUCCESS], *ORIGIN]),
        ]
        ids = {"drHbHId": request.drHbHId, "drEtEId": request.drEtEId}
        flags = request.drFlags & ~REQUEST
        answer = DiamAns(request.drCode, drAppId=request.drAppId, drFlags=flags, avpList=avps, **ids)
        self.socket.sendall(raw(answer))
        return not watchdog


ORIGIN = [["Origin-Host", "scapy.example.net"], ["Origin-Realm", "example.net"]]

client = Client(int(sys.argv[1]))
for line in sys.stdin:
    wanted = json.loads(line)
    came = client.wait() if "wait" in wanted else client.ask(wanted["command"], wanted["application"], wanted["avps"])
    print(json.dumps({"command": came.drCode, "request": bool(came.drFlags & REQUEST), "avps": read(came.avpList)}))
    sys.stdout.flush()
