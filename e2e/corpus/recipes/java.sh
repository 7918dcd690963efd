# The runtime has the compiler's module, without its command.
java -m jdk.compiler/com.sun.tools.javac.Main -d /srv /recipes/Service.java
rm /etc/ssl/certs/java/cacerts # has the time in it; the service trusts nobody
