// Search runs in a worker, and browsers give none to a page that was opened as a file. There a frame does its work.
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(address) {
      this.onmessage = null;
      this.waiting = [];
      this.ready = false;
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.onload = () => this.begin(address);
      document.body.append(this.frame);
    }
    begin(address) {
      const inside = this.frame.contentWindow;
      inside.postMessage = (data) => this.onmessage?.(new MessageEvent("message", { data }));
      const script = inside.document.createElement("script");
      script.src = new URL(address, location.href);
      script.onerror = (error) => this.onerror?.(error);
      script.onload = () => {
        this.ready = true;
        this.waiting.forEach((data) => this.give(data));
      };
      inside.document.head.append(script);
    }
    postMessage(data) {
      this.ready ? this.give(data) : this.waiting.push(data);
    }
    give(data) {
      this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
    }
    terminate() {
      this.frame.remove();
    }
  };
}
