import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Supplier;

/** The program of the image java. README.md of the corpus says what it answers. */
public final class Service {
  private static final AtomicLong count = new AtomicLong();
  private static final SecureRandom secure = new SecureRandom();

  private static final Map<String, Supplier<Object>> answers = Map.of(
      "/", () -> "hello from java",
      "/count", count::incrementAndGet,
      "/time", () -> String.format(
          "{\"monotonic_ns\": %d, \"wall_ms\": %d}", System.nanoTime(), System.currentTimeMillis()),
      "/random", Service::random,
      "/pseudo", Math::random);

  public static void main(String[] args) throws IOException {
    random(); // has the generator seed itself
    HttpServer server = HttpServer.create(new InetSocketAddress(8080), 128);
    server.createContext("/", Service::answer);
    server.setExecutor(Executors.newFixedThreadPool(8));
    server.start();
    System.out.println("ready");
  }

  private static void answer(HttpExchange exchange) throws IOException {
    Supplier<Object> answer = answers.get(exchange.getRequestURI().getPath());
    String text = answer == null ? "not found" : answer.get().toString();
    byte[] body = (text + "\n").getBytes(StandardCharsets.UTF_8);
    exchange.getResponseHeaders().set("Content-Type", "text/plain");
    exchange.sendResponseHeaders(answer == null ? 404 : 200, body.length);
    try (OutputStream out = exchange.getResponseBody()) {
      out.write(body);
    }
  }

  private static String random() {
    byte[] bytes = new byte[16];
    secure.nextBytes(bytes);
    return HexFormat.of().formatHex(bytes);
  }
}
