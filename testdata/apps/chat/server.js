// A chat room: a page, and a WebSocket (RFC 6455) that hands each message to everybody.
// Only Node's own modules. SIGTERM closes every socket with 1001, so that browsers come back.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { Reader, frame, CLOSE, PING, PONG, TEXT } = require('./frames');

const PAGE = fs.readFileSync(path.join(__dirname, 'page.html'));
const SELF = `${process.env.MICRO_RELEASE || 'local'} ${process.env.MICRO_INSTANCE || ''}`.trim();
const room = new Set();

const server = http.createServer((request, response) => {
  if (request.url === '/') {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(PAGE);
  } else if (request.url === '/healthz') {
    response.writeHead(200, { 'content-type': 'text/plain' }).end('ok\n');
  } else {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('not found\n');
  }
});

server.on('upgrade', (request, socket, head) => {
  const key = request.headers['sec-websocket-key'];
  if (request.url !== '/ws' || !key) {
    socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
    return;
  }
  const accept = crypto.createHash('sha1').update(key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
  socket.setNoDelay(true);
  room.add(socket);
  const leave = () => room.delete(socket);
  socket.on('close', leave).on('error', leave);

  const reader = new Reader((opcode, payload) => {
    if (opcode === TEXT) {
      for (const member of room) member.write(frame(TEXT, payload));
    } else if (opcode === PING) {
      socket.write(frame(PONG, payload));
    } else if (opcode === CLOSE) {
      socket.end(frame(CLOSE, payload));
    }
  });
  const read = (bytes) => { if (!reader.push(bytes)) socket.destroy(); };
  if (head.length) read(head);
  socket.on('data', read);
  socket.write(frame(TEXT, Buffer.from(JSON.stringify({ from: 'room', text: `you are on ${SELF}` }))));
});

const port = Number(process.env.PORT || 8080);
server.listen(port, () => console.log(`chat: listening on port ${port}`));

process.on('SIGTERM', () => {
  console.log(`chat: stopping, ${room.size} connected`);
  for (const member of room) member.end(frame(CLOSE, Buffer.from([0x03, 0xe9]))); // 1001, going away
  server.close(() => console.log('chat: bye'));
  server.closeIdleConnections();
});
