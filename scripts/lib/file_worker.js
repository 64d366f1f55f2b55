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
      inside.postMessage = (data) => {
        const event = new MessageEvent("message", { data: structuredClone(data) });
        setTimeout(() => this.onmessage?.(event)); // never in the middle of what the page does
      };
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
      const inside = this.frame.contentWindow; // which gets a copy made of its own objects, as a worker would
      const event = new inside.MessageEvent("message", { data: inside.structuredClone(data) });
      setTimeout(() => inside.dispatchEvent(event));
    }
    terminate() {
      this.frame.remove();
    }
  };
}
