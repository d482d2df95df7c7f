"""A Modbus client made with pymodbus, which shares no code with ours.

usage: pymodbus_client.py unit tcp host port
       pymodbus_client.py unit rtu_over_tcp host port
       pymodbus_client.py unit tls host port authority certificate key
       pymodbus_client.py unit rtu path

Each line of standard input is one request, "table address count" to read and
"table address = value ..." to write. The answer is one line: the values, or
"exception N", or "error TEXT".
"""

import ssl
import sys

from pymodbus.client import ModbusSerialClient, ModbusTcpClient, ModbusTlsClient
from pymodbus.pdu import ExceptionResponse
from pymodbus.transaction import ModbusRtuFramer, ModbusSocketFramer


class TlsClient(ModbusTlsClient):
    """Reads what TLS has decoded already, for which the original waits in vain."""

    def recv(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                break
            data += more
        return data


def opened(transport, where):
    if transport == "rtu":
        return ModbusSerialClient(where[0], baudrate=19200, timeout=20)
    host, port = where[0], int(where[1])
    if transport == "rtu_over_tcp":
        return ModbusTcpClient(host, port=port, framer=ModbusRtuFramer, timeout=20)
    if transport == "tcp":
        return ModbusTcpClient(host, port=port, timeout=20)
    context = ssl.create_default_context(cafile=where[2])
    context.load_cert_chain(where[3], where[4])
    # Its own framer for TLS leaves the header out, which no specification wants.
    return TlsClient(host, port=port, framer=ModbusSocketFramer, sslctx=context, timeout=20)


def ask(client, unit, words):
    table, address = words[0], int(words[1])
    if "=" in words:
        values = [int(word) for word in words[3:]]
        if table == "coil":
            return client.write_coils(address, [value == 1 for value in values], slave=unit)
        return client.write_registers(address, values, slave=unit)
    read = {
        "coil": client.read_coils,
        "discrete": client.read_discrete_inputs,
        "holding": client.read_holding_registers,
        "input": client.read_input_registers,
    }[table]
    return read(address, int(words[2]), slave=unit)


def shown(answer, words):
    if isinstance(answer, ExceptionResponse):
        return "exception %d" % answer.exception_code
    if answer.isError():
        return "error %s" % answer
    if "=" in words:
        return "written"
    if words[0] in ("coil", "discrete"):
        return " ".join(str(int(bit)) for bit in answer.bits[: int(words[2])])
    return " ".join(str(register) for register in answer.registers)


unit = int(sys.argv[1])
client = opened(sys.argv[2], sys.argv[3:])
client.connect()
for line in sys.stdin:
    words = line.split()
    print(shown(ask(client, unit, words), words), flush=True)
client.close()
