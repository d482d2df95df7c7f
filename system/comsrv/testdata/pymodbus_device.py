"""A Modbus TCP device made with pymodbus, which shares no code with ours.

usage: pymodbus_device.py host:port

The values of its registers are packed here by Python's struct, most significant
byte first, or with the words swapped where the table of the test says CDAB.
"""

import struct
import sys

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import StartTcpServer


def words(layout, *values, swapped=False):
    """Return the registers that hold values."""
    packed = struct.pack(">" + layout, *values)
    registers = list(struct.unpack(">%dH" % (len(packed) // 2), packed))
    return registers[::-1] if swapped else registers


def block(size, contents):
    """Return a table of size registers with contents by address."""
    values = [0] * size
    for address, registers in contents.items():
        values[address : address + len(registers)] = registers
    return ModbusSequentialDataBlock(0, values)


HOLDING = {
    0: words("f", 230.25),
    2: words("f", -41.5, swapped=True),
    4: words("I", 4000000001),
    6: words("i", -7, swapped=True),
    8: words("d", 1234567.890625),
    12: words("q", -(2**40)),
    16: words("h", -300),
    17: [0b1010 << 4],
    18: words("8s", b"PCS-1\x00\x00\x00"),
    199: [65535],
}
INPUTS = {0: words("h", 215), 124: [1, 2, 3]}
COILS = {0: [1, 0, 1, 1], 100: [1]}
DISCRETE = {7: [1], 8: [0], 9: [1]}

host, port = sys.argv[-1].rsplit(":", 1)
unit = ModbusSlaveContext(
    hr=block(200, HOLDING), ir=block(200, INPUTS), co=block(200, COILS), di=block(200, DISCRETE), zero_mode=True
)
# Killed, it is started again while its connections still wait to be forgotten.
StartTcpServer(
    context=ModbusServerContext(slaves={9: unit}, single=False), address=(host, int(port)), allow_reuse_address=True
)
