"""A Modbus TCP client made with pymodbus, which shares no code with ours.

usage: pymodbus_client.py host port unit

Each line of standard input is one request, "table address count" to read and
"table address = value ..." to write. The answer is one line: the values, or
"exception N", or "error TEXT".
"""

import sys

from pymodbus.client import ModbusTcpClient
from pymodbus.pdu import ExceptionResponse


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


host, port, unit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = ModbusTcpClient(host, port=port, timeout=20)
client.connect()
for line in sys.stdin:
    words = line.split()
    print(shown(ask(client, unit, words), words), flush=True)
client.close()
