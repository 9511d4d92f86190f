// When this line ran, in milliseconds since the epoch: Date.now() would drop the microseconds.
const { performance } = require('node:perf_hooks');

module.exports = async () => performance.timeOrigin + performance.now();
