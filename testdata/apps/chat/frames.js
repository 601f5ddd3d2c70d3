// Frames of a WebSocket: RFC 6455, section 5.
'use strict';

const TEXT = 1, CLOSE = 8, PING = 9, PONG = 10;
const LIMIT = 1 << 20;

// frame makes a frame as a server sends it: whole and not masked.
function frame(opcode, payload) {
  const size = payload.length;
  let head;
  if (size < 126) {
    head = Buffer.from([0x80 | opcode, size]);
  } else if (size <= 0xffff) {
    head = Buffer.from([0x80 | opcode, 126, size >> 8, size & 0xff]);
  } else {
    head = Buffer.alloc(10);
    head[0] = 0x80 | opcode;
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(size), 2);
  }
  return Buffer.concat([head, payload]);
}

// Reader takes a client's bytes as they come and calls onMessage for every whole message.
class Reader {
  constructor(onMessage) {
    this.onMessage = onMessage;
    this.rest = Buffer.alloc(0);
    this.parts = [];
    this.opcode = 0;
  }

  // push returns false when the client breaks the protocol.
  push(bytes) {
    this.rest = Buffer.concat([this.rest, bytes]);
    for (;;) {
      if (this.rest.length < 2) return true;
      const last = (this.rest[0] & 0x80) !== 0;
      const opcode = this.rest[0] & 0x0f;
      let size = this.rest[1] & 0x7f;
      let at = 2;
      if (size === 126) {
        if (this.rest.length < 4) return true;
        size = this.rest.readUInt16BE(2);
        at = 4;
      } else if (size === 127) {
        if (this.rest.length < 10) return true;
        size = Number(this.rest.readBigUInt64BE(2));
        at = 10;
      }
      if ((this.rest[1] & 0x80) === 0 || size > LIMIT) return false;
      if (this.rest.length < at + 4 + size) return true;
      const mask = this.rest.subarray(at, at + 4);
      const payload = Buffer.from(this.rest.subarray(at + 4, at + 4 + size));
      for (let i = 0; i < size; i++) payload[i] ^= mask[i & 3];
      this.rest = this.rest.subarray(at + 4 + size);
      if (opcode >= CLOSE) {
        this.onMessage(opcode, payload);
        continue;
      }
      if (opcode) this.opcode = opcode;
      this.parts.push(payload);
      if (last) {
        this.onMessage(this.opcode, Buffer.concat(this.parts));
        this.parts = [];
      }
    }
  }
}

module.exports = { Reader, frame, TEXT, CLOSE, PING, PONG };
