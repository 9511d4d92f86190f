// No work.
module.exports = async () => null;
